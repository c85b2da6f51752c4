"""The teacher's laws: the closed form after n steps, no trace of a step that did not count, the schedule's ends."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from frl.objectives.momentum import follow, momentum_at, teacher_of

YES, NO = torch.tensor(True), torch.tensor(False)


@settings(deadline=None)
@given(st.floats(0, 1), st.lists(st.floats(-3, 3), min_size=1, max_size=6))
def test_after_n_steps_it_is_the_weighted_sum_of_the_students(momentum, values):
    student = nn.Linear(2, 1, bias=False).double()
    teacher = teacher_of(student)
    expected = student.weight.detach().clone() * momentum ** len(values)
    for age, value in enumerate(reversed(values)):
        expected += (1 - momentum) * momentum**age * value
    for value in values:
        nn.init.constant_(student.weight, value)
        follow(teacher, student, momentum, YES)
    torch.testing.assert_close(teacher.weight.detach(), expected, rtol=1e-12, atol=1e-12)


def test_a_step_that_did_not_count_leaves_no_trace_and_the_teacher_keeps_its_statistics():
    student = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    teacher = teacher_of(student)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    nn.init.constant_(student[0].weight, 5.0)
    student[1].running_mean.fill_(7.0)
    follow(teacher, student, 0.5, NO)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    follow(teacher, student, 0.5, YES)
    assert not torch.equal(teacher[0].weight, before["0.weight"])
    assert torch.equal(teacher[1].running_mean, before["1.running_mean"])
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_the_momentum_rises_from_its_start_to_its_end():
    momenta = [momentum_at(step, 100, 0.99) for step in range(102)]
    assert momenta[0] == pytest.approx(0.99) and momenta[100] == momenta[101] == 1.0
    assert momenta[50] == pytest.approx(0.995)
    assert momenta == sorted(momenta)
