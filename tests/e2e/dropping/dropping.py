"""The task of the heart-disease example at hospitals that are lost in turn: in every round one, after it shared and before it sends."""

import os

import heart_disease

from fedtrainer.agent import securing

_send = securing.Securing._send


def _lost_in_turn(self, vector):
    """A roster is in order, and the round says whose turn it is. The first process of a container cannot kill itself by a signal."""
    roster = sorted(self._secure.terms.roster)
    if self._own.settings.client == roster[self._order.round % len(roster)]:
        os._exit(137)
    _send(self, vector)


securing.Securing._send = _lost_in_turn


def task():
    return heart_disease.task()
