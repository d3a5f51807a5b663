"""What pyproject.toml cannot express: the folder `configs` becomes a part of the package."""

from setuptools import find_namespace_packages, find_packages, setup

presets = [f"simmc.configs.{name}" for name in find_namespace_packages("configs")]
setup(
    packages=[*find_packages(include=["simmc*"]), "simmc.configs", *presets],
    package_dir={"simmc.configs": "configs"},
    package_data={"simmc": ["py.typed"], "simmc.reports": ["*.css", "*.js"]}
    | {name: ["*.toml"] for name in presets},
)
