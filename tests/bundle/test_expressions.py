"""Short expressions pass; anything that could reach the machine does not."""

from __future__ import annotations

import pytest

from monai_isles.bundle.configs import expression_fault


@pytest.mark.parametrize(
    "text",
    [
        "$@network.parameters()",
        "$@network_def.to(@device)",
        "$@train#trainer.run()",
        "$@train::trainer.run()",
        "$@output_dir + '/models'",
        "$[@a, @b#0]",
        "${'net': @network, 'n': 3}",
        "$@modalities + ['label']",
        "$len(@channels)",
        "$@x if @y > 0 else None",
        "$-1",
        "$not @debug",
        "$@a.state_dict()['w']",
        "$@a and @b",
        "$@list[-1]",
        "$(1, 2)",
        "$@rate * 2 / 3",
        "$monai.utils.set_determinism(seed=@seed)",
        "$monai.handlers.from_engine(['pred', 'label'])",
        "$@net.inner.to('cpu')",
    ],
)
def test_allowed_forms_pass(text: str) -> None:
    assert expression_fault(text) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("$__import__('os').system('id')", "a call of 'system'"),
        ("$os.system('id')", "os.system"),
        ("$import os", "not one Python expression"),
        ("$eval('1')", "'eval'"),
        ("$open('/etc/passwd')", "'open'"),
        ("$@a.__class__", "private"),
        ("$@a.__class__.__mro__[1].to(1)", "private"),
        ("$lambda x: x", "Lambda"),
        ("$[x for x in @a]", "ListComp"),
        ("$getattr(@a, 'b')", "'getattr'"),
        ("$@a.load('x')", "'load'"),
        ("$f'{@a}'", "JoinedStr"),
        ("$@a ** 9999999", "BinOp"),
        ("$(@a or 1)()", "no name"),
        ("$(@a)()", "'ref_'"),
        ("$@f(1)", "'ref_'"),
        ("$@a()[0].run()", "'ref_'"),
        ("$monai.bundle.run('x')", "deny list"),
        ("$torch.load('x')", "outside"),
        ("$@a.to(open('x'))", "'open'"),
        ("$torch.cuda", "the name 'torch'"),
        ("$@a[open('x')]", "Subscript"),
        ("$b'x'", "a literal of an unusual kind"),
        ("$'" + "a" * 300 + "'", "longer than 200"),
        ("$", "not one Python"),
        ("$(x := @a)", "NamedExpr"),
        ("$len(exit())", "'exit'"),
        ("${**open('x')}", "'open'"),
        ("$monai.handlers.from_engine(exit())", "'exit'"),
    ],
)
def test_everything_else_is_refused_with_a_reason(text: str, why: str) -> None:
    assert why in (expression_fault(text) or "")
