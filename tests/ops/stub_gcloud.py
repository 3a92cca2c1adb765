"""Stands in for gcloud: remembers what was made and granted in a file, and every command line in another.

Strict where the real one is: what exists cannot be made again, what is missing can neither be seen, changed nor
granted. The file of state is named by STUB_GCLOUD, the lines are beside it, one JSON list each. Its answers have
the shape of gcloud 528's.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

READS = {"describe", "list", "get-iam-policy", "ls"}


class Stub:
    """One command on one project. `state` maps a thing's name to what is known of it."""

    def __init__(self, arguments: list[str], state: dict[str, Any]) -> None:
        self.words = [one for one in arguments if not one.startswith("--")]
        flags = [one[2:].partition("=") for one in arguments if one.startswith("--")]
        self.flags = {name: value for name, _, value in flags}
        self.repeated = {name: [value for other, _, value in flags if other == name] for name in self.flags}
        self.state = state

    def answer(self) -> str:
        """What is printed. Raises LookupError with what the real one would complain about."""
        special: dict[str, Callable[[], str]] = {
            "projects describe": lambda: "123456789012",
            "services list": lambda: "\n".join(self.state.setdefault("services", [])),
            "services enable": lambda: self._add("services", self.words[-1]),
            "beta services": lambda: "",
            "storage service-agent": lambda: "",
            "storage ls": lambda: self._named("chunks"),
            "storage rm": lambda: self._drop("chunks"),
            "firestore bulk-delete": lambda: "",
            "firestore fields": self._ttls,
            "firestore indexes": self._indexes,
            "secrets versions": lambda: "\n".join(self.state.get("versions", [])),
        }
        known = special.get(" ".join(self.words[:2]))
        if known and not (self.words[0] == "projects" and self.words[1] != "describe"):
            return known()
        if "notifications" in self.words:
            return self._notifications()
        return self._thing()

    def _thing(self) -> str:
        """Things that are made, seen, granted on and deleted alike."""
        verbs = {"describe", "create", "update", "delete", "get-iam-policy", "add-iam-policy-binding"}
        [at] = [place for place, word in enumerate(self.words) if word in verbs | {"remove-iam-policy-binding"}]
        verb, kind = self.words[at], " ".join(self.words[:at])
        name = f"{kind} {self.flags.get('database') or self.words[-1].partition('@')[0]}"
        if verb == "create":
            if name in self.state:
                raise LookupError(f"ALREADY_EXISTS: {name}")
            self.state[name] = {"policy": []}
            return ""
        thing = self.state.setdefault(name, {"policy": []}) if kind == "projects" else self._known(name)
        return str(getattr(self, "_" + verb.replace("-", "_"))(name, thing))

    def _describe(self, name: str, thing: dict[str, Any]) -> str:
        return str(thing.get("lifecycle", name))

    def _update(self, name: str, thing: dict[str, Any]) -> str:
        del name
        thing["lifecycle"] = Path(self.flags["lifecycle-file"]).read_text(encoding="utf-8")
        return ""

    def _delete(self, name: str, thing: dict[str, Any]) -> str:
        del thing, self.state[name]
        return ""

    def _get_iam_policy(self, name: str, thing: dict[str, Any]) -> str:
        del name
        return "\n".join(thing["policy"])

    def _add_iam_policy_binding(self, name: str, thing: dict[str, Any]) -> str:
        del name
        thing["policy"].append(f"{self.flags['role']},{self.flags['member']}")
        return ""

    def _remove_iam_policy_binding(self, name: str, thing: dict[str, Any]) -> str:
        del name
        thing["policy"].remove(f"{self.flags['role']},{self.flags['member']}")
        return ""

    def _known(self, name: str) -> dict[str, Any]:
        if name not in self.state:
            raise LookupError(f"NOT_FOUND: {name}")
        found: dict[str, Any] = self.state[name]
        return found

    def _named(self, name: str) -> str:
        self._known(name)
        return name

    def _drop(self, name: str) -> str:
        del self.state[name]
        return ""

    def _add(self, name: str, one: str) -> str:
        self.state.setdefault(name, []).append(one)
        return ""

    def _notifications(self) -> str:
        kept: list[dict[str, Any]] = self.state.setdefault("notifications", [])
        if "create" in self.words:
            self._known("storage buckets " + self.words[-1])
            topic = self.flags["topic"]
            self._known("pubsub topics " + topic.rpartition("/")[2])
            kept.append({"id": str(len(kept) + 1), "topic": f"//pubsub.googleapis.com/{topic}"})
        if "delete" in self.words:
            self.state["notifications"] = [one for one in kept if one["id"] != self.words[-1].rpartition("/")[2]]
        return json.dumps([{"Notification Configuration": one} for one in kept], indent=2, sort_keys=True)

    def _ttls(self) -> str:
        self._known(f"firestore databases {self.flags['database']}")
        if "update" in self.words:
            self._add("ttls", f"projects/p/databases/d/collectionGroups/c/fields/{self.words[-1]}")
        return "\n".join(self.state.get("ttls", []))

    def _indexes(self) -> str:
        self._known(f"firestore databases {self.flags['database']}")
        if "composite" in self.words:
            return self._composite()
        field = self.words[-1]
        if "update" in self.words:
            self._add("exempt", field)
        config = {} if field in self.state.get("exempt", []) else {"usesAncestorConfig": True}
        return json.dumps({"indexConfig": config}, indent=2)

    def _composite(self) -> str:
        kept: list[dict[str, Any]] = self.state.setdefault("indexes", [])
        if "create" in self.words:
            config = [dict(one.split("=") for one in field.split(",")) for field in self.repeated["field-config"]]
            fields = [{"fieldPath": one["field-path"], "order": one["order"].upper()} for one in config]
            # Firestore adds the name, in the last field's order.
            fields.append({"fieldPath": "__name__", "order": fields[-1]["order"]})
            if fields in [one["fields"] for one in kept]:
                raise LookupError("ALREADY_EXISTS: index already exists")
            name = f"projects/p/databases/d/collectionGroups/{self.flags['collection-group']}/indexes/{len(kept)}"
            kept.append({"fields": fields, "name": name, "queryScope": "COLLECTION", "state": "CREATING"})
            return ""
        return json.dumps(kept, indent=2, sort_keys=True)


def main() -> int:
    """Answer one command line."""
    at = Path(os.environ["STUB_GCLOUD"])
    with at.with_suffix(".lines").open("a", encoding="utf-8") as lines:
        print(json.dumps(sys.argv[1:]), file=lines)
    state = json.loads(at.read_text(encoding="utf-8")) if at.exists() else {}
    try:
        print(Stub(sys.argv[1:], state).answer())
    except LookupError as error:
        print(error, file=sys.stderr)
        return 1
    at.write_text(json.dumps(state), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
