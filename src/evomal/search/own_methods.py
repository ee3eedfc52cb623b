"""Methods of a user: a class from their own file or module, by name on the command line."""

import inspect

from evomal.foundation.errors import SettingError
from evomal.search.method import METHODS, Method
from evomal.tasks.user import user_object


def load_method(spec: str) -> type[Method]:
    """The class that a user names; it is in the registry from then on.

    Args:
        spec: A name in `METHODS`, or ``"my_module.py:Mine"`` or ``"package.module:Mine"``, whose code is run.

    Raises:
        SettingError: There is no such file or class, it cannot be imported, or it is no complete method.

    Example:
        >>> load_method("glo").__name__
        'GLO'
    """
    if spec in METHODS:
        return METHODS[spec]
    with user_object(spec, "method", "Mine", "is a subclass of evomal.Method") as (found, name, _):
        pass
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise SettingError(f"method '{spec}': {name} is no subclass of evomal.Method; derive it from that")
    if not isinstance(getattr(found, "name", None), str):
        raise SettingError(f"method '{spec}': {name} has no `name`; give the class one, such as name = 'mine'")
    if inspect.isabstract(found):
        raise SettingError(f"method '{spec}': {name} has no engine; define `engine(self, tasks, probes)`")
    return found
