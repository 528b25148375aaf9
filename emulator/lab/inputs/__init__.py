"""What people already have, as a scenario: tmsh stanzas, AS3, Cloud Failover, Declarative
Onboarding.

    text -> tree (tmsh, jsontext) -> what is declared (bigip, as3, cfe, do) -> scenario (mapping)

Every leaf of every input ends in exactly one category of the reading list (`ledger`): nothing
is dropped in silence.
"""
