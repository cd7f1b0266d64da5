"""Projects as the domain keeps them."""

import pytest

from app.contract.paging import EVERYTHING, PageRequest, Scope
from app.contract.resources.project import ProjectCreate, ProjectUpdate
from app.kit.database import Database
from app.migration.projects import service
from app.migration.projects.errors import ProjectChanged, ProjectExists, ProjectNotFound


async def make(database: Database, name: str) -> service.Project:
    return await database.run(lambda uow: service.create_project(uow, ProjectCreate(name=name)))


async def test_the_default_project_is_made_once(database: Database) -> None:
    made = [await database.run(service.ensure_default_project) for _ in range(2)]
    assert made[0] == made[1]
    assert made[0].name == "default"


async def test_a_project_is_found_by_id_and_by_name_in_scope_only(database: Database) -> None:
    shop, lab = await make(database, "shop"), await make(database, "lab")
    mine = Scope(frozenset({shop.id}))
    async with database.reading() as uow:
        assert await service.get_project(uow, mine, shop.id) == shop
        assert await service.get_project(uow, mine, "shop") == shop
        for ref in (lab.id, "lab", "Shop", "shop ", "prj-", "é"):
            with pytest.raises(ProjectNotFound):
                await service.get_project(uow, mine, ref)


@pytest.mark.parametrize(
    ("q", "names"), [("o", ["shop", "foo_bar"]), ("_", ["foo_bar"]), ("%", []), ("SH", ["shop"])]
)
async def test_a_part_of_the_name_is_taken_as_it_is(database: Database, q: str, names: list[str]) -> None:
    for name in ("shop", "lab", "foo_bar"):
        await make(database, name)
    async with database.reading() as uow:
        page = await service.list_projects(uow, EVERYTHING, PageRequest(), q)
    assert [project.name for project in page.items] == names


async def test_of_two_changes_from_the_same_version_one_is_refused(database: Database) -> None:
    shop = await make(database, "shop")

    async def describe(text: str) -> service.Project:
        change = ProjectUpdate(description=text)
        return await database.run(
            lambda uow: service.update_project(uow, EVERYTHING, "shop", shop.version, change)
        )

    assert (await describe("first")).version == shop.version + 1
    with pytest.raises(ProjectChanged):
        await describe("second")
    async with database.reading() as uow:
        assert (await service.get_project(uow, EVERYTHING, "shop")).description == "first"


async def test_a_name_belongs_to_one_project(database: Database) -> None:
    await make(database, "shop")
    lab = await make(database, "lab")
    with pytest.raises(ProjectExists):
        await make(database, "shop")
    rename = ProjectUpdate(name="shop")
    with pytest.raises(ProjectExists):
        await database.run(lambda uow: service.update_project(uow, EVERYTHING, lab.id, 1, rename))


async def test_names_of_projects_by_their_ids(database: Database) -> None:
    shop = await make(database, "shop")
    async with database.reading() as uow:
        assert await service.project_names(uow, frozenset({shop.id, "prj-gone"})) == {shop.id: "shop"}
        assert await service.project_names(uow, frozenset()) == {}
