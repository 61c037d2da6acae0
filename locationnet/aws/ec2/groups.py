"""What machines of EC2 that train together need: a security group and a placement group.

Knows how both are made and removed; nothing of the machines in them. What does not carry the run's
name is not touched.
"""

from __future__ import annotations

from typing import Any

from locationnet.aws.common import AWSError, clear_errors, client
from locationnet.aws.job import RUN_TAG
from locationnet.aws.recipe import EC2Recipe
from locationnet.errors import InputError

# The launchers talk over one port, the parameter server over any that is free.
FIRST_PORT, LAST_PORT = 1024, 65535
_DUPLICATE = "InvalidPlacementGroup.Duplicate"
_RULE_THERE = "InvalidPermission.Duplicate"
_GONE = "InvalidPlacementGroup.Unknown"


def name_of(recipe: EC2Recipe) -> str:
    """Return the name of both groups."""
    return f"locationnet-{recipe.name}"


def tags(values: dict[str, str]) -> list[dict[str, str]]:
    """Return tags as EC2 wants them."""
    return [{"Key": key, "Value": value} for key, value in values.items()]


def make_security_group(ec2: Any, recipe: EC2Recipe) -> str:
    """Return a group whose members reach each other over TCP, and nobody else reaches."""
    name = name_of(recipe)
    with clear_errors(f"security group {name}"):
        network = _network(ec2, recipe)
        ours = [
            {"Name": f"tag:{RUN_TAG}", "Values": [recipe.name]},
            {"Name": "vpc-id", "Values": [network]},
        ]
        found = ec2.describe_security_groups(Filters=ours)["SecurityGroups"]
        group = str(
            found[0]["GroupId"]
            if found
            else ec2.create_security_group(
                GroupName=name,
                Description=f"Machines of LocationNet run {recipe.name} among themselves",
                TagSpecifications=[{"ResourceType": "security-group", "Tags": _own_tags(recipe)}],
                VpcId=network,
            )["GroupId"]
        )
    # One that was found may be what a launch left that was cut between the two.
    _let_members_in(ec2, group)
    return group


def _let_members_in(ec2: Any, group: str) -> None:
    rule = {
        "IpProtocol": "tcp",
        "FromPort": FIRST_PORT,
        "ToPort": LAST_PORT,
        "UserIdGroupPairs": [{"GroupId": group}],
    }
    try:
        with clear_errors(f"security group {group}"):
            ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    except AWSError as error:
        if error.code != _RULE_THERE:
            raise


def _network(ec2: Any, recipe: EC2Recipe) -> str:
    """Return the VPC of the recipe's subnet, or the account's default one."""
    subnet = recipe.machine.subnet
    if subnet is not None:
        return str(ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["VpcId"])
    default = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    if not default:
        raise InputError(f"{recipe.region}: has no default network; name a subnet under [machine]")
    return str(default[0]["VpcId"])


def make_placement_group(ec2: Any, recipe: EC2Recipe) -> None:
    """Have the machines stand close together."""
    name = name_of(recipe)
    try:
        with clear_errors(f"placement group {name}"):
            ec2.create_placement_group(
                GroupName=name,
                Strategy="cluster",
                TagSpecifications=[{"ResourceType": "placement-group", "Tags": _own_tags(recipe)}],
            )
    except AWSError as error:
        if error.code != _DUPLICATE:
            raise


def clean(recipe: EC2Recipe) -> list[str]:
    """Remove the groups that launches have made; return what was removed.

    Raises
    ------
    AWSError
        AWS refused.
    """
    ec2, name, removed = client("ec2", recipe.region), name_of(recipe), []
    owned = [{"Name": f"tag:{RUN_TAG}", "Values": [recipe.name]}]
    with clear_errors(name):
        for group in ec2.describe_security_groups(Filters=owned)["SecurityGroups"]:
            ec2.delete_security_group(GroupId=group["GroupId"])
            removed.append(f"security group {group['GroupId']}")
    if recipe.machine.count > 1:
        try:
            with clear_errors(name):
                ec2.delete_placement_group(GroupName=name)
            removed.append(f"placement group {name}")
        except AWSError as error:
            if error.code != _GONE:
                raise
    return removed


def _own_tags(recipe: EC2Recipe) -> list[dict[str, str]]:
    return tags({**recipe.machine.tags, RUN_TAG: recipe.name})
