"""All cases, by importing the files that they are in."""
import cases_paths  # noqa: F401
import cases_attributes  # noqa: F401
import cases_names  # noqa: F401
import cases_open  # noqa: F401
import cases_data  # noqa: F401
import cases_xattrs  # noqa: F401
import cases_special  # noqa: F401
