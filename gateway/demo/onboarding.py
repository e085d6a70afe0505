"""The first half of the story: a payment becomes an onboarding ticket, and no such ticket goes without a telephone."""

from typing import Any

import httpx

from gateway.clock import utc_now

from . import payment
from .scene import TENANT
from .story import Steps, Story, require

PAYMENT_ID, AMOUNT = "pay_1", 990.0
CORE_TAGS = {"core", "onboarding"}
MISSING_TAG = "sem-telefone"
AGENT_NOTE = "Falei com a cliente e registrei o telefone no cadastro."
INTERNAL = 1  # Movidesk's type of a private action
PHONELESS = {
    "subject": "CORE - Escola Aurora",
    "description": "A cliente pagou por boleto. Falta agendar o 1º CORE.",
    "tags": ["core"],
}
SCHOOL = {"name": "Escola Aurora", "email": "secretaria@escola.example"}


class Onboarding:
    """Payments, Movidesk and Zendesk."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.notice = b""
        self.headers: dict[str, str] = {}
        self.paid = 0
        self.ticket = ""

    def steps(self) -> Steps:
        return {
            "a signed payment becomes a ticket": self.payment,
            "a ticket without a phone gets a note": self.no_phone,
            "the phone is added, the tag goes": self.phone_added,
            "the same rule at another desk": self.at_zendesk,
            "the same payment again changes nothing": self.again,
        }

    def payment(self) -> str:
        now, story = utc_now(), self.story
        self.notice = payment.notice(PAYMENT_ID, AMOUNT, payment.PAYER, now)
        self.headers = payment.signed(self.notice, story.scene.signing_secret, now)
        answer = self._send(self.headers)
        require(answer.status_code == 202, f"the payment was answered with {answer.status_code}, not 202")
        self.paid = answer.json()["delivery"]
        story.until("payment.confirmed is decided", lambda: story.event(self.paid, "payment.confirmed"))
        acted = story.acted("core_ticket_on_payment", "create_ticket", "link_tickets")
        self.ticket = acted["create_ticket"].receipt["remote_id"]
        echo = story.until(
            "the ticket comes back from Movidesk", lambda: story.event_of("movidesk", self.ticket)
        )
        story.settle()
        require(
            echo.ours and all(row.ours for row in story.events_of("movidesk", self.ticket)),
            "what we wrote came back and was not recognised as ours",
        )
        [ticket] = story.tickets("movidesk")
        require(ticket["ownerTeam"] == "GR", "the ticket is not in team GR")
        require(set(ticket["tags"]) >= CORE_TAGS, "the ticket lacks its tags")
        require(
            any("3555-0199" in value for value in _fields(ticket)), "the ticket lacks the customer's phone"
        )
        self._show(ticket)
        story.verified("one ticket at Movidesk; its own webhook was recognised as our doing")
        return f"ticket {self.ticket}, team GR"

    def no_phone(self) -> str:
        story = self.story
        self.ticket = story.person("movidesk", {**PHONELESS, "client": SCHOOL, "ownerTeam": "GR"})["id"]
        opened = f"opened ticket {self.ticket} in Movidesk: {PHONELESS['subject']}, no phone"
        story.screen.line("person", opened)
        found = story.until(
            "the new ticket is read back", lambda: story.event_of("movidesk", self.ticket, "ticket.created")
        )
        require(not found.ours, "a person's ticket was taken for our own")
        note = story.acted("require_phone", "add_comment", "add_tags", ticket=self.ticket)["add_comment"]
        story.settle()
        ticket = self._ticket()
        words = note.body["body"]
        last = ticket["actions"][-1]
        require(MISSING_TAG in ticket["tags"], f"the ticket has no tag {MISSING_TAG}")
        require(last["type"] == INTERNAL, "the note is not private")
        require(
            " ".join(words.split()) in " ".join(last["description"].split()), "the note says something else"
        )
        story.screen.line("ticket", f"{self.ticket} has the tag {MISSING_TAG} and a private note:")
        story.screen.quote(words)
        require(len(ticket["actions"]) == 2, "the ticket got more than one note")
        story.verified("both are there, and the ticket got them once")
        return f"ticket {self.ticket}: note and tag {MISSING_TAG}"

    def phone_added(self) -> str:
        story = self.story
        noted = {"body": AGENT_NOTE, "public": False, "agent": True}
        story.person("movidesk", {"phone": "(11) 3555-0142", "comment": noted}, self.ticket)
        text = f"added a phone to the contact of ticket {self.ticket} and noted so"
        story.screen.line("person", text)
        story.acted("require_phone", "remove_tags", ticket=self.ticket)
        story.settle()
        ticket = self._ticket()
        require(MISSING_TAG not in ticket["tags"], f"the tag {MISSING_TAG} is still there")
        require("core" in ticket["tags"], "the tag core is gone, too")
        self._show(ticket)
        story.verified(f"the tag {MISSING_TAG} is gone, the tag core has stayed")
        return f"ticket {self.ticket}: tag gone"

    def at_zendesk(self) -> str:
        story = self.story
        opened = story.person("zendesk", {**PHONELESS, "requester": SCHOOL})["ticket"]
        ref = str(opened["id"])
        story.screen.line("person", f"opened ticket {ref} in Zendesk: {PHONELESS['subject']}, no phone")
        story.acted("require_phone", "add_comment", "add_tags", ticket=ref)
        story.settle()
        ticket = next(one for one in story.tickets("zendesk") if str(one["id"]) == ref)
        require(MISSING_TAG in ticket["tags"], f"the ticket has no tag {MISSING_TAG}")
        story.verified(f"ticket {ref} at Zendesk has its note and the tag {MISSING_TAG}")
        return f"ticket {ref}: note and tag {MISSING_TAG}"

    def again(self) -> str:
        story = self.story
        known_actions = set(story.watch.actions)
        answer = self._send(self.headers)
        require(
            (answer.status_code, answer.json().get("delivery")) == (200, self.paid),
            f"the same message was answered with {answer.status_code}: {answer.text}",
        )
        answer = self._send(payment.signed(self.notice, story.scene.signing_secret, utc_now()))
        require(answer.status_code == 202, f"the new message was answered with {answer.status_code}, not 202")
        second = answer.json()["delivery"]
        story.until("the new message is decided", lambda: story.watch.deliveries[second].state == "decided")
        story.settle()
        why = (story.watch.deliveries[second].notes or {}).get("known")
        require(
            why == [{"fact": f"payment.confirmed:{PAYMENT_ID}", "delivery": self.paid}],
            "it is not said that the payment was known",
        )
        require(story.watch.deliveries[self.paid].duplicates == 1, "the repeated message was not counted")
        require(set(story.watch.actions) == known_actions, "the repeated payment led to an action")
        require(len(story.tickets("movidesk")) == 2, "the repeated payment opened a ticket")
        story.verified(f"no action, no ticket: known since delivery {self.paid}")
        return f"known since delivery {self.paid}"

    def _send(self, headers: dict[str, str]) -> httpx.Response:
        path = f"/hooks/{TENANT}/pagamentos"
        answer = self.story.http.post(
            f"{self.story.scene.server}{path}", content=self.notice, headers=headers
        )
        text = f"payment {PAYMENT_ID}, message {headers['webhook-id'][:12]}..., signed, to {path}"
        self.story.screen.line("sent", f"{text} -> {answer.status_code} {answer.text}")
        return answer

    def _ticket(self) -> dict[str, Any]:
        return next(one for one in self.story.tickets("movidesk") if one["id"] == self.ticket)

    def _show(self, ticket: dict[str, Any]) -> None:
        tags = ", ".join(tag for tag in ticket["tags"] if not tag.startswith("gw-"))
        fields = "; ".join(_fields(ticket))
        filled = f"; fields {fields}" if fields else ""
        text = f"{ticket['id']} {ticket['subject']!r}, team {ticket['ownerTeam']}, tags {tags}{filled}"
        self.story.screen.line("ticket", text)


def _fields(ticket: dict[str, Any]) -> list[str]:
    return [str(value["value"]) for value in ticket["customFieldValues"] if value.get("value")]
