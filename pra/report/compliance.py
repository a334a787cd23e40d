"""Which requirement for restore tests each section of the report supports.

Requirements are told in our own words, and only where the text is known; whoever is audited reads the text
itself. Nothing here says that anybody complies.
"""

from __future__ import annotations

from dataclasses import dataclass

from pra.messages import mark
from pra.report.blocks import Block, Cell, Sentence, Table
from pra.report.words import Words


@dataclass(frozen=True)
class Requirement:
    """One paragraph of a standard. ``sections`` are titles of the report's sections."""

    standard: str
    place: str
    asks: str
    sections: tuple[str, ...]


_OBJECTIVES, _TIMELINE, _EVENTS = mark("Objectives"), mark("The timeline"), mark("What happened")
_CHECKS, _ROWS, _DECISIONS = mark("Checks"), mark("Rows"), mark("Human decisions")
_DEVIATIONS, _FINDINGS = mark("Deviations from the plan"), mark("Findings to be mended")
_BACK, _TREND = mark("The way back"), mark("Trend")
_SYSTEMS, _EVIDENCE = mark("Systems and versions"), mark("Evidence")

_DORA = mark("DORA, Regulation (EU) 2022/2554")
_RTS = mark("Delegated Regulation (EU) 2024/1774, under DORA")
_NIS2 = mark("NIS2, Directive (EU) 2022/2555")
_NIS2_ACT = mark("Implementing Regulation (EU) 2024/2690, under NIS2")
_SOC2, _ISO27001 = "SOC 2 (Trust Services Criteria)", "ISO/IEC 27001:2022"
_ISO22301, _PCI = "ISO 22301:2019", "PCI DSS v4.0.1"

REQUIREMENTS = (
    Requirement(
        _DORA,
        "art. 11(6)",
        mark("Response and recovery plans are tested, with switchovers to redundant capacity and backups."),
        (_EVENTS, _TIMELINE, _CHECKS),
    ),
    Requirement(
        _DORA,
        "art. 11(8)",
        mark("Records of what was done before and during a disruption are kept at hand."),
        (_TIMELINE, _DECISIONS, _EVIDENCE),
    ),
    Requirement(
        _DORA,
        "art. 12(2)",
        mark("Backup, restoration and recovery procedures are tested periodically."),
        (_EVENTS, _CHECKS, _TREND),
    ),
    Requirement(
        _DORA,
        "art. 12(6)",
        mark("Time and point objectives for recovery are set for each function."),
        (_OBJECTIVES,),
    ),
    Requirement(
        _DORA,
        "art. 12(7)",
        mark("After a recovery, checks and reconciliations show that the data is whole."),
        (_CHECKS, _ROWS),
    ),
    Requirement(
        _RTS,
        "art. 25",
        mark("Tests follow severe but plausible scenarios; results are documented, deficiencies dealt with."),
        (_EVENTS, _DEVIATIONS, _FINDINGS),
    ),
    Requirement(
        _RTS,
        "art. 26",
        mark("Response and recovery plans cover named scenarios and say how systems and data come back."),
        (_EVENTS, _BACK),
    ),
    Requirement(
        _NIS2,
        "art. 21(2)(c)",
        mark("Business continuity: backup management, disaster recovery and crisis management."),
        (_OBJECTIVES, _EVENTS, _CHECKS),
    ),
    Requirement(
        _NIS2_ACT,
        "4.2 (4.2.3, 4.2.6)",
        mark("Backups are checked for integrity; recovery from them is tested and the results documented."),
        (_CHECKS, _FINDINGS, _EVIDENCE),
    ),
    Requirement(
        _SOC2,
        "A1.2",
        mark("Backup processes and recovery infrastructure are operated and monitored to meet objectives."),
        (_OBJECTIVES, _SYSTEMS, _TREND),
    ),
    Requirement(
        _SOC2,
        "A1.3",
        mark("Recovery procedures are tested against the objectives."),
        (_OBJECTIVES, _TIMELINE, _CHECKS),
    ),
    Requirement(
        _ISO27001,
        "A.5.29",
        mark("Information stays protected during a disruption."),
        (_EVENTS, _DECISIONS, _SYSTEMS),
    ),
    Requirement(
        _ISO27001,
        "A.5.30",
        mark("Readiness of systems for continuity is planned, kept up and tested against its objectives."),
        (_OBJECTIVES, _TIMELINE, _TREND),
    ),
    Requirement(
        _ISO27001,
        "A.8.13",
        mark("Backup copies are kept and tested regularly."),
        (_EVENTS, _CHECKS),
    ),
    Requirement(
        _ISO27001,
        "A.8.14",
        mark("Facilities are redundant enough to meet the demands on availability."),
        (_TIMELINE, _BACK),
    ),
    Requirement(
        _ISO22301,
        "8.5",
        mark("Exercises test the continuity plans; their reports name outcomes and improvements."),
        (_EVENTS, _DEVIATIONS, _FINDINGS),
    ),
    Requirement(
        _PCI,
        "12.10.2",
        mark(
            "The incident response plan, with its recovery procedures and backup processes (12.10.1), is "
            "reviewed and tested at least every 12 months."
        ),
        (_EVENTS, _DECISIONS, _FINDINGS),
    ),
    Requirement(
        _PCI,
        "9.4.1.1, 9.4.1.2",
        mark(
            "Offline backups with cardholder data lie in a secure place, which is reviewed every 12 months."
        ),
        (),
    ),
)


def table(words: Words) -> tuple[Block, ...]:
    """The requirements in their order, each with the sections that support it."""
    _ = words._
    nowhere = Cell(_("not shown here: look at the place itself"), "unsure")
    rows = tuple(
        (
            Cell(f"{_(each.standard)}, {each.place}"),
            Cell(_(each.asks)),
            Cell(", ".join(_(title) for title in each.sections)) if each.sections else nowhere,
        )
        for each in REQUIREMENTS
    )
    return (
        Sentence(
            _(
                "Where an auditor may look. The requirements are told in our words, and this table claims no "
                "compliance: which of them apply, and whether they are met, is for the auditor to say."
            )
        ),
        Table((_("Requirement"), _("What it asks"), _("Supported by")), rows),
    )
