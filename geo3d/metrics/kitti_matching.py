"""Matching of predictions to objects as in KITTI's benchmark, for all frames and score thresholds.

States: 0 counts, 1 may be matched but does not count, -1 is not there. Frames are packed; the overlaps [D, G] of predictions and objects of a
frame follow those of the one before.
"""

from __future__ import annotations

import numpy as np
from numba import njit

POSITIONS = 41  # of recall: 0, 1/40, ... 1


def recall_thresholds(scores: np.ndarray, num_objects: int) -> np.ndarray:
    """Scores nearest to the recall positions: scores [N] of the matched objects -> [at most 41], falling."""
    falling = np.sort(scores)[::-1]
    thresholds = []
    position = 0.0
    for i, score in enumerate(falling):
        here, next_ = (i + 1) / num_objects, (i + 2) / num_objects
        if i < len(falling) - 1 and next_ - position < position - here:
            continue  # the next score comes closer to the position
        thresholds.append(score)
        position += 1 / (POSITIONS - 1)
    return np.array(thresholds)


@njit(cache=True, nogil=True)
def _match(overlap, pred_state, pred_score, gt_state, least, threshold, by_score, match):
    """Fill match [G] with the prediction of each object or -1, the objects choosing in their order.

    With `by_score` an object takes the surest prediction that overlaps enough, else the one that overlaps most among those that
    count, and if there is none the first of those that do not.
    """
    taken = np.zeros(len(pred_state), np.bool_)
    for g in range(len(gt_state)):
        match[g] = -1
        if gt_state[g] == -1:
            continue
        best, best_value, spare = -1, -np.inf, -1
        for d in range(len(pred_state)):
            if pred_state[d] == -1 or taken[d] or overlap[d, g] <= least or (not by_score and pred_score[d] < threshold):
                continue
            if by_score or pred_state[d] == 0:
                value = pred_score[d] if by_score else overlap[d, g]
                if value > best_value:
                    best, best_value = d, value
            elif spare == -1:
                spare = d
        if best == -1:
            best = spare
        if best != -1:
            match[g] = best
            taken[best] = True
    return taken


@njit(cache=True, nogil=True)
def matched_scores(overlaps, pred_ends, gt_ends, pred_state, pred_score, gt_state, least):
    """Scores of the predictions that the objects that count are matched to, the surest first choice: [N]."""
    scores = np.empty(len(gt_state))
    count = d0 = g0 = o0 = 0
    for frame in range(len(pred_ends)):
        d1, g1 = pred_ends[frame], gt_ends[frame]
        size = (d1 - d0) * (g1 - g0)
        overlap = overlaps[o0 : o0 + size].reshape(d1 - d0, g1 - g0)
        match = np.empty(g1 - g0, np.int64)
        _match(overlap, pred_state[d0:d1], pred_score[d0:d1], gt_state[g0:g1], least, 0.0, True, match)
        for g in range(g1 - g0):
            if match[g] != -1 and gt_state[g0 + g] == 0 and pred_state[d0 + match[g]] == 0:
                scores[count] = pred_score[d0 + match[g]]
                count += 1
        d0, g0, o0 = d1, g1, o0 + size
    return scores[:count]


@njit(cache=True, nogil=True)
def count_matches(overlaps, pred_ends, gt_ends, pred_state, pred_score, gt_state, excused, similarity, least, thresholds):
    """True positives, false positives and the summed similarity of the true ones at each threshold: [T, 3].

    `excused` [D]: predictions in regions where nothing is labelled, no false positives. `similarity` is laid out as `overlaps`.
    """
    totals = np.zeros((len(thresholds), 3))
    d0 = g0 = o0 = 0
    for frame in range(len(pred_ends)):
        d1, g1 = pred_ends[frame], gt_ends[frame]
        size = (d1 - d0) * (g1 - g0)
        overlap = overlaps[o0 : o0 + size].reshape(d1 - d0, g1 - g0)
        alike = similarity[o0 : o0 + size].reshape(d1 - d0, g1 - g0)
        state, score = pred_state[d0:d1], pred_score[d0:d1]
        match = np.empty(g1 - g0, np.int64)
        for t in range(len(thresholds)):
            taken = _match(overlap, state, score, gt_state[g0:g1], least, thresholds[t], False, match)
            for g in range(g1 - g0):
                if match[g] != -1 and gt_state[g0 + g] == 0 and state[match[g]] == 0:
                    totals[t, 0] += 1
                    totals[t, 2] += alike[match[g], g]
            for d in range(d1 - d0):
                if state[d] == 0 and not taken[d] and not excused[d0 + d] and score[d] >= thresholds[t]:
                    totals[t, 1] += 1
        d0, g0, o0 = d1, g1, o0 + size
    return totals
