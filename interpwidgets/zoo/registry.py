"""Every model of the zoo, by name.

from interpwidgets.zoo.registry import ZOO

ZOO["attn2l"].train()
"""

from interpwidgets.zoo import attention_only, brackets, maxofk, minibert, modadd, storylm, tms
from interpwidgets.zoo.spec import ZooModel

_RECIPES = (
    attention_only,
    brackets,
    modadd,
    maxofk,
    tms,
    storylm,
    minibert,
)  # fmt: skip

ZOO: dict[str, ZooModel] = {spec.name: spec for recipe in _RECIPES for spec in recipe.MODELS}
