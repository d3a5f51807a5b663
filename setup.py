"""What pyproject.toml cannot express: the folder `configs` becomes a part of the package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["simmc*"]), "simmc.configs"],
    package_dir={"simmc.configs": "configs"},
    package_data={"simmc": ["py.typed"], "simmc.configs": ["*/*.toml"]},
    zip_safe=False,
)
