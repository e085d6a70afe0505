"""The second half of the story: a chat gets its tags and its link, goes to support, and support's answer comes back."""

from typing import Any

from .story import Steps, Story, require

CUSTOMER = {"name": "Ana Lima", "email": "ana@papelaria.example"}
QUESTION = "Oi! Chegou um boleto com o valor errado, e eu já tinha pago."
FIRST_ANSWER = "Olá, Ana! Vou verificar o que aconteceu."
REASON = "cobrança em duplicidade, precisa de estorno"
REPLY = "Ana, o estorno foi feito hoje e cai em até 5 dias úteis."
PORTAL = "https://acme.bitrix24.com.br"
MISSING_TAG, RESOLVED_TAG = "sem-bitrix", "resolvido-suporte"


class Chat:
    """Intercom, Bitrix24 and Freshdesk."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.conversation = ""
        self.ticket = ""

    def steps(self) -> Steps:
        return {
            "a chat gets its tag": self.tagged,
            "an answer without the Bitrix link gets a note": self.no_link,
            "the link is pasted, and the deal knows the chat": self.linked,
            "the chat is escalated to support": self.escalated,
            "support's answer and the end come back": self.answered,
        }

    def tagged(self) -> str:
        story = self.story
        opened = story.person("intercom", {"contact": CUSTOMER, "body": QUESTION})
        self.conversation = opened["id"]
        story.screen.line("person", f"Ana writes in the chat, conversation {self.conversation}: {QUESTION}")
        story.acted("auto_tag", "add_tags", ticket=self.conversation)
        story.settle()
        require("financeiro" in self._tags(), "the conversation has no tag financeiro")
        story.verified("the conversation has the tag financeiro")
        return f"conversation {self.conversation}: tag financeiro"

    def no_link(self) -> str:
        story = self.story
        self._agent("comment", FIRST_ANSWER)
        note = story.acted("require_bitrix_link", "add_comment", "add_tags", ticket=self.conversation)
        story.settle()
        words = note["add_comment"].body["body"]
        require(MISSING_TAG in self._tags(), f"the conversation has no tag {MISSING_TAG}")
        require(len(self._notes("falta o link do Bitrix")) == 1, "the note is not there, once")
        story.screen.line("ticket", f"{self.conversation} has the tag {MISSING_TAG} and a private note:")
        story.screen.quote(words)
        story.verified("both are there, and the conversation got them once")
        return f"note and tag {MISSING_TAG}"

    def linked(self) -> str:
        story = self.story
        deal = story.person("bitrix", {"kind": "deal", "title": "Papelaria Lima"})["id"]
        link = f"{PORTAL}/crm/deal/details/{deal.removeprefix('deal:')}/"
        self._agent("note", f"Negócio: {link}")
        story.acted("require_bitrix_link", "link_tickets", "remove_tags", "set_fields")
        story.settle()
        require(MISSING_TAG not in self._tags(), f"the tag {MISSING_TAG} is still there")
        [card] = [one for one in story.tickets("bitrix") if one["ref"] == deal]
        require(len(card["timeline"]) == 1, "the deal's timeline does not have one entry")
        require(
            self.conversation in card["timeline"][0]["COMMENT"], "the timeline does not name the conversation"
        )
        story.screen.line(
            "ticket", f"{deal} at Bitrix24 has one entry in its timeline, with the chat's address"
        )
        story.verified(f"the link is filed, the tag {MISSING_TAG} is gone")
        return f"{deal} knows conversation {self.conversation}"

    def escalated(self) -> str:
        story = self.story
        self._agent("note", f"/escalar {REASON}")
        acted = story.acted("escalate", "create_ticket", "link_tickets", "add_comment")
        self.ticket = acted["create_ticket"].receipt["remote_id"]
        story.settle()
        [ticket] = story.tickets("freshdesk")
        told = " ".join([ticket["description_text"], *(one["body_text"] for one in ticket["conversations"])])
        require(QUESTION in told, "the ticket does not have what the customer wrote")
        require(REASON in told, "the ticket does not say why it was escalated")
        require(len(self._notes(f"/{self.ticket}")) == 1, "the chat was not told the ticket's address, once")
        story.screen.line(
            "ticket", f"{self.ticket} {ticket['subject']!r} at Freshdesk, with the whole chat in it"
        )
        story.verified("one ticket at support, and its address in the chat")
        return f"ticket {self.ticket} at Freshdesk"

    def answered(self) -> str:
        story = self.story
        story.person("freshdesk", {"comment": {"body": REPLY}}, self.ticket)
        story.screen.line("person", f"answers the customer at Freshdesk: {REPLY}")
        story.until("the answer is in the chat", lambda: self._looked(REPLY))
        story.person("freshdesk", {"status": 4}, self.ticket)
        story.screen.line("person", f"resolves ticket {self.ticket} at Freshdesk")
        story.until("the chat knows", lambda: RESOLVED_TAG in self._tags())
        story.settle()
        require(len(self._notes(REPLY)) == 1, "the answer is in the chat more than once")
        [ticket] = story.tickets("freshdesk")
        said = [one for one in ticket["conversations"] if REPLY in one["body_text"]]
        require(len(said) == 1, "the answer came back to support as an echo")
        story.verified(f"the answer came once, no echo, and the chat has the tag {RESOLVED_TAG}")
        return f"answer in the chat, tag {RESOLVED_TAG}"

    def _agent(self, kind: str, text: str) -> None:
        """What Rui writes in the chat: a `comment` to the customer, or a private `note`."""
        told = {"message_type": kind, "type": "admin", "body": text}
        self.story.person("intercom", told, self.conversation)
        whom = "to the customer" if kind == "comment" else "in a private note"
        self.story.screen.line("person", f"Rui writes {whom}: {text}")

    def _conversation(self) -> dict[str, Any]:
        return next(one for one in self.story.tickets("intercom") if one["id"] == self.conversation)

    def _tags(self) -> set[str]:
        return {tag["name"] for tag in self._conversation()["tags"]["tags"]}

    def _looked(self, words: str) -> bool:
        self.story.look()
        return bool(self._notes(words))

    def _notes(self, words: str) -> list[dict[str, Any]]:
        parts = self._conversation()["conversation_parts"]["conversation_parts"]
        return [part for part in parts if part["part_type"] == "note" and words in (part["body"] or "")]
