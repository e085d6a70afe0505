"""What does Movidesk do with what it is sent? The account behind the sandbox.

It keeps tickets and persons as the API shows them, refuses what the API refuses, and tells the triggers.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.api import html_to_text
from gateway.testing import Outbox

JSON = Any
STATUSES = {
    "Novo": "New", "Em atendimento": "InAttendance", "Aguardando": "Stopped", "Resolvido": "Resolved",
    "Fechado": "Closed", "Cancelado": "Canceled",
}  # fmt: skip
FINISHED_IN = {"Resolved": "resolvedIn", "Closed": "closedIn", "Canceled": "canceledIn"}
URGENCIES = ("Baixa", "Média", "Alta", "Urgente")
SELECTED = ("personId", "clientId", "team", "customFieldItem")
PAST = timedelta(days=90)
INTERNAL, PUBLIC = 1, 2
BY_CLIENT, BY_AGENT, BY_API = 1, 2, 9  # origin


class Refused(Exception):
    """Answered with this status and message, and counted as an erroneous request."""

    def __init__(self, status: int, message: str, property_name: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = (
            {"errorMessage": message, "propertyName": property_name}
            if property_name
            else {"message": message}
        )


class Desk:
    """The account: tickets, persons, and what happens to them."""

    def __init__(
        self, person_id: str, reasons: Mapping[str, Iterable[str]], lag: float, takes_null_owner: bool,
        keeps_hidden_text: bool, html_in_ticket: bool, clock: Callable[[], float], outbox: Outbox,
    ) -> None:  # fmt: skip
        self.tickets: dict[int, JSON] = {}
        self.persons: dict[str, JSON] = {}
        self.outbox = outbox
        self._visible_at: dict[int, float] = {}
        self._reasons = {label: set(choices) for label, choices in reasons.items()}
        self._lag, self._clock = lag, clock
        self._takes_null_owner, self._keeps_hidden_text = takes_null_owner, keeps_hidden_text
        self._html_in_ticket = html_in_ticket
        self._next_ticket, self._next_client = 50812, 100
        for known in (
            _person(person_id, "Gateway", profile=3),
            _person("ag-9", "Ana Prado", profile=1, email="ana@suporte.example", teams=["N1", "GR"]),
            _person("ag-10", "Bruno Reis", profile=1, email="bruno@suporte.example", teams=["N2"]),
            _person("cli-77", "Loja Aurora", email="contato@aurora.example"),
        ):
            self.persons[known["id"]] = known

    # reading

    def get(self, number: str, *, past: bool = False) -> JSON:
        ticket = self.tickets.get(int(number)) if number.isdecimal() else None
        if ticket is None or self._clock() < self._visible_at[ticket["id"]] or self._is_past(ticket) != past:
            raise Refused(404, "Ticket não encontrado")
        return ticket

    def visible(self, *, past: bool = False) -> list[JSON]:
        now = self._clock()
        return [
            one
            for one in self.tickets.values()
            if now >= self._visible_at[one["id"]] and self._is_past(one) == past
        ]

    def _is_past(self, ticket: JSON) -> bool:
        return datetime.fromisoformat(ticket["lastUpdate"]).replace(tzinfo=UTC) < self._time() - PAST

    def shown(self, ticket: JSON) -> JSON:
        """As a single GET shows it: the id is a string there."""
        actions = [action for action in ticket["actions"] if not action["isDeleted"]]
        if not self._html_in_ticket:
            actions = [action | {"htmlDescription": None} for action in actions]
        return ticket | {"id": str(ticket["id"]), "actions": actions, "webhookEvents": None}

    def person(self, person_id: JSON, what: str) -> JSON:
        if person_id not in self.persons:
            raise Refused(400, f"Pessoa não encontrada: {person_id}", what)
        return self.persons[person_id]

    # writing

    def open(self, given: JSON, *, origin: int = BY_API) -> JSON:
        if given.get("type") not in (INTERNAL, PUBLIC):
            raise Refused(400, "Tipo do ticket inválido", "type")
        if not given.get("clients") or not given.get("actions"):
            raise Refused(400, "O ticket precisa de um cliente e de uma ação", "clients")
        now, number = self._now(), self._next_ticket
        creator = self.person((given.get("createdBy") or {}).get("id"), "createdBy")
        ticket: JSON = {
            "id": number, "protocol": None, "type": given["type"], "subject": given.get("subject") or "",
            "category": None, "urgency": None, "status": "Novo", "baseStatus": "New", "justification": None,
            "origin": origin, "createdDate": now, "isDeleted": False, "owner": None, "ownerTeam": None,
            "createdBy": _brief(creator), "serviceFirstLevel": None, "serviceFirstLevelId": None, "tags": [],
            "resolvedIn": None, "closedIn": None, "canceledIn": None, "reopenedIn": None, "clients": [],
            "slaSolutionDate": None, "lastActionDate": now, "lastUpdate": now, "actionCount": 0,
            "actions": [], "customFieldValues": [],
        }  # fmt: skip
        given = {"justification": None, **given} if "status" in given else given
        self._apply(ticket, given, action_origin=0)
        self._next_ticket += 1
        self.tickets[number] = ticket
        self._visible_at[number] = self._clock() + self._lag
        self.fire(ticket, created=True)
        return ticket

    def change(self, ticket: JSON, given: JSON, *, origin: int = BY_API) -> None:
        draft = json.loads(json.dumps(ticket))
        self._apply(draft, given, action_origin=origin)
        draft["lastUpdate"] = self._now()
        ticket.update(draft)
        self.fire(ticket, said="actions" in given)

    def _apply(self, ticket: JSON, given: JSON, *, action_origin: int) -> None:
        if ("status" in given) != ("justification" in given):
            raise Refused(400, "Atualize o Status e a Justificativa em conjunto", "status")
        if "status" in given:
            self._set_status(ticket, given["status"], given["justification"])
        if given.get("urgency") is not None and given["urgency"] not in URGENCIES:
            raise Refused(400, f"Urgência não encontrada: {given['urgency']}", "urgency")
        for name in ("subject", "category", "urgency", "serviceFirstLevelId", "type", "isDeleted"):
            if name in given:
                ticket[name] = given[name]
        if "tags" in given:
            ticket["tags"] = [str(tag) for tag in given["tags"] or ()]
        if "clients" in given:
            ticket["clients"] = [_client(self.person(one.get("id"), "clients")) for one in given["clients"]]
        if "owner" in given or "ownerTeam" in given:
            self._assign(ticket, given)
        if "customFieldValues" in given:
            ticket["customFieldValues"] = [_field_value(value) for value in given["customFieldValues"]]
        for action in given.get("actions") or ():
            self._act(ticket, action, action_origin)

    def _set_status(self, ticket: JSON, label: str, justification: str | None) -> None:
        if label not in STATUSES:
            raise Refused(400, f"Status não encontrado: {label}", "status")
        if label in self._reasons and justification not in self._reasons[label]:
            raise Refused(400, f"O status {label} exige uma justificativa existente", "justification")
        base = STATUSES[label]
        if ticket["baseStatus"] in FINISHED_IN and base not in FINISHED_IN:
            ticket["reopenedIn"] = self._now()
        ticket |= {"status": label, "baseStatus": base, "justification": justification}
        for finished, name in FINISHED_IN.items():
            ticket[name] = self._now() if finished == base else None

    def _assign(self, ticket: JSON, given: JSON) -> None:
        owner, team = given.get("owner"), given.get("ownerTeam")
        if "owner" in given and owner is None and team and not self._takes_null_owner:
            raise Refused(400, "Responsável inválido", "owner")
        if owner:
            agent = self.person(owner.get("id"), "owner")
            if team not in agent["teams"]:
                raise Refused(400, f"{agent['businessName']} não faz parte da equipe {team}", "ownerTeam")
        if "owner" in given:
            ticket["owner"] = _brief(self.persons[owner["id"]]) if owner else None
        if "ownerTeam" in given:
            ticket["ownerTeam"] = team

    def _act(self, ticket: JSON, given: JSON, origin: int) -> None:
        if given.get("id"):  # an action with id is changed, one without is added
            stored = next((one for one in ticket["actions"] if one["id"] == given["id"]), None)
            if stored is None:
                raise Refused(400, f"Ação não encontrada: {given['id']}", "actions")
            stored |= {name: given[name] for name in ("type", "isDeleted") if name in given}
            return
        if given.get("type") not in (INTERNAL, PUBLIC) or not given.get("description"):
            raise Refused(400, "Ação inválida", "actions")
        author = self.person((given.get("createdBy") or {}).get("id"), "createdBy")
        html = given["description"]
        if not self._keeps_hidden_text:
            html = html.partition("<span style=")[0]
        ticket["actionCount"] += 1
        ticket["lastActionDate"] = self._now()
        ticket["actions"].append({
            "id": ticket["actionCount"], "type": given["type"], "origin": origin,
            "description": html_to_text(html), "htmlDescription": html, "createdDate": self._now(),
            "createdBy": _brief(author), "isDeleted": False, "attachments": [], "tags": [],
            "status": ticket["status"], "justification": ticket["justification"],
        })  # fmt: skip

    def save_person(self, given: JSON) -> JSON:
        missing = [
            name for name in ("isActive", "personType", "profileType", "businessName") if name not in given
        ]
        if missing:
            raise Refused(400, f"Campo obrigatório: {missing[0]}", missing[0])
        person_id = given.get("id") or f"cli-{self._next_client}"
        if person_id in self.persons:
            raise Refused(400, "Já existe uma pessoa com este Cód. Ref.", "id")
        self._next_client += 1
        self.persons[person_id] = _person(person_id, given["businessName"]) | given | {"id": person_id}
        return self.persons[person_id]

    # webhooks

    def fire(self, ticket: JSON, *, created: bool = False, said: bool = False) -> None:
        """What a trigger posts: a part of the ticket, with zeros where nothing was loaded."""
        event = {"Criteria": 1, "Operation": 1} if created else {"Criteria": 2, "Operation": 10}
        body: JSON = {
            "Id": ticket["id"], "Type": 0, "Subject": ticket["subject"], "Status": ticket["status"],
            "Origin": 0, "IsDeleted": ticket["isDeleted"], "ActionCount": 0, "ResolvedInFirstCall": False,
            "SlaSolutionTime": 0, "WebhookEvents": [event],
        }  # fmt: skip
        if created or said:
            last = ticket["actions"][-1]
            by = {"Id": last["createdBy"]["id"], "PersonType": 0, "ProfileType": 0}
            body["Actions"] = [{
                "Id": last["id"], "Type": 0, "Origin": 0, "Description": last["description"], "CreatedBy": by,
                "IsDeleted": False, "Attachments": [],
            }]  # fmt: skip
        self.outbox.send(json.dumps(body, ensure_ascii=False).encode(), {"Content-Type": "application/json"})

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def _now(self) -> str:
        return written(self._time())


def written(moment: datetime) -> str:
    """Seven decimals, no zone."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}0"


def _person(
    person_id: str, name: str, *, profile: int = 2, email: str | None = None, teams: Iterable[str] = ()
) -> JSON:
    return {
        "id": person_id, "businessName": name, "isActive": True, "personType": 1, "profileType": profile,
        "cpfCnpj": None, "teams": list(teams), "contacts": [], "customFieldValues": [],
        "emails": [{"emailType": "Profissional", "email": email, "isDefault": True}] if email else [],
    }  # fmt: skip


def _brief(person: JSON) -> JSON:
    email = next((entry["email"] for entry in person["emails"]), None)
    names = ("id", "businessName", "personType", "profileType")
    return {name: person[name] for name in names} | {"email": email, "phone": None}


def _client(person: JSON) -> JSON:
    return _brief(person) | {"isDeleted": False, "organization": None}


def _field_value(given: JSON) -> JSON:
    place = {name: given.get(name) for name in ("customFieldId", "customFieldRuleId", "line")}
    if not all(place.values()):
        raise Refused(400, "Informe customFieldId, customFieldRuleId e line", "customFieldValues")
    items = []
    for item in given.get("items") or ():
        if sum(item.get(name) is not None for name in SELECTED) != 1:
            raise Refused(400, "Cada item tem exatamente um valor", "customFieldValues")
        items.append(
            {name: item.get(name) for name in SELECTED} | {"storageFileGuid": None, "fileName": None}
        )
    return place | {"value": None if items else given.get("value"), "items": items}
