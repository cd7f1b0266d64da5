"""What can go wrong on the way from a checkpoint to a machine.

Go2CloudError
└── LaunchError               500  LAUNCH_ERROR
    ├── SettingsWrong         422  TARGET_SETTINGS_WRONG  the target's settings, or the order, cannot work
    ├── ToolMissing           503  TOOL_MISSING           a program or a firmware file is not installed
    ├── ToolFailed            500  TOOL_FAILED            a program ended with an error
    ├── VolumeUnproved        409  VOLUME_UNPROVED        the volume is not the one that was verified
    ├── StorageShort          507  NODE_STORAGE_SHORT     the node's filesystem has to keep what it has left
    ├── TargetBusy            503  TARGET_BUSY            another process holds the target for too long
    ├── DeviceHoldsData       409  DEVICE_HOLDS_DATA      the device holds what this target did not write
    ├── InstanceDiffers       409  INSTANCE_DIFFERS       the instance exists with another order
    ├── InstanceRetired       409  INSTANCE_RETIRED       the instance was ended for good
    ├── InstanceUnknown       404  INSTANCE_UNKNOWN       there is no such instance at the target
    ├── MachineRefused        500  MACHINE_REFUSED        the machine could not be started
    ├── ConversionFailed      500  CONVERSION_FAILED      the disks could not be made fit for the new machine
    ├── WishImpossible        409  WISH_IMPOSSIBLE        addresses or cloud-init that the guest cannot have
    ├── NotConvertible        409  NOT_SUPPORTED          the target does not convert disks
    ├── MachineSilent         503  MACHINE_SILENT         the machine's monitor does not answer
    ├── HypervisorUnreachable 503  HYPERVISOR_UNREACHABLE libvirt does not answer
    ├── DomainForeign         409  DOMAIN_FOREIGN         a domain of the machine's name is not ours
    ├── CephUnreachable       503  CEPH_UNREACHABLE       the Ceph cluster does not answer in time
    ├── CephRefused           409  CEPH_REFUSED           Ceph has no such pool, or the client may not use it
    ├── ImageForeign          409  IMAGE_FOREIGN          an RBD image of the name is not ours
    ├── BucketUnreachable     503  BUCKET_UNREACHABLE     the object storage does not answer
    ├── BucketRefused         409  BUCKET_REFUSED         there is no such bucket, or the keys may not use it
    ├── BucketFull            507  BUCKET_FULL            the quota of the bucket is used up
    ├── UploadDiffers         502  UPLOAD_DIFFERS         the bucket has other bytes than were sent
    └── LaunchStopped         503  LAUNCH_STOPPED         the caller does not wait for it any more
"""

from app.kit.errors import Go2CloudError


class LaunchError(Go2CloudError):
    """Something about launching."""

    code = "LAUNCH_ERROR"
    title = "Launch error"


class SettingsWrong(LaunchError):
    """The target's settings, or what is to be launched, cannot work."""

    status = 422
    code = "TARGET_SETTINGS_WRONG"
    title = "Target cannot do this"


class ToolMissing(LaunchError):
    """A program or a firmware file that the target needs is not installed."""

    status = 503
    code = "TOOL_MISSING"
    title = "Tool missing"


class ToolFailed(LaunchError):
    """A program that the target runs ended with an error."""

    code = "TOOL_FAILED"
    title = "Tool failed"


class VolumeUnproved(LaunchError):
    """The volume's file is not the one whose root was recomputed and found equal to the checkpoint's."""

    status = 409
    code = "VOLUME_UNPROVED"
    title = "Volume not verified"


class StorageShort(LaunchError):
    """Writing on would fill the filesystem that others on the node need as well."""

    status = 507
    code = "NODE_STORAGE_SHORT"
    title = "Node's storage is nearly full"


class TargetBusy(LaunchError):
    """Another process launches or terminates at this target, for longer than is reasonable."""

    status = 503
    code = "TARGET_BUSY"
    title = "Target busy"


class DeviceHoldsData(LaunchError):
    """The device or file holds something that this target did not write there."""

    status = 409
    code = "DEVICE_HOLDS_DATA"
    title = "Device holds data"


class InstanceDiffers(LaunchError):
    """An instance of this id exists and was ordered differently."""

    status = 409
    code = "INSTANCE_DIFFERS"
    title = "Instance exists"


class InstanceRetired(LaunchError):
    """The instance was ended for good: nobody may launch it any more."""

    status = 409
    code = "INSTANCE_RETIRED"
    title = "Instance retired"


class InstanceUnknown(LaunchError):
    """There is no instance of this id at the target."""

    status = 404
    code = "INSTANCE_UNKNOWN"
    title = "No such instance"


class MachineRefused(LaunchError):
    """The machine could not be started."""

    code = "MACHINE_REFUSED"
    title = "Machine did not start"


class MachineSilent(LaunchError):
    """The machine's monitor does not answer in time, or answers with an error."""

    status = 503
    code = "MACHINE_SILENT"
    title = "Machine's monitor silent"


class HypervisorUnreachable(LaunchError):
    """The daemon that keeps the machines cannot be connected to, or does not answer in time."""

    status = 503
    code = "HYPERVISOR_UNREACHABLE"
    title = "Hypervisor unreachable"


class DomainForeign(LaunchError):
    """A domain has the name of one of our machines and was not made by us."""

    status = 409
    code = "DOMAIN_FOREIGN"
    title = "Domain of somebody else"


class CephUnreachable(LaunchError):
    """The Ceph cluster cannot be connected to, or takes or gives no bytes for too long."""

    status = 503
    code = "CEPH_UNREACHABLE"
    title = "Ceph unreachable"


class CephRefused(LaunchError):
    """Ceph has no such pool, namespace or client, or the client may not do this there."""

    status = 409
    code = "CEPH_REFUSED"
    title = "Ceph refused"


class ImageForeign(DeviceHoldsData):
    """An RBD image has the name of one of ours and was not made by this target."""

    code = "IMAGE_FOREIGN"
    title = "RBD image of somebody else"


class BucketUnreachable(LaunchError):
    """The object storage cannot be connected to, does not answer in time, or says that it cannot now."""

    status = 503
    code = "BUCKET_UNREACHABLE"
    title = "Object storage unreachable"


class BucketRefused(LaunchError):
    """The object storage has no such bucket, or the keys may not do this there."""

    status = 409
    code = "BUCKET_REFUSED"
    title = "Object storage refused"


class BucketFull(LaunchError):
    """The quota of the bucket, or of the user of the keys, is used up."""

    status = 507
    code = "BUCKET_FULL"
    title = "Bucket is full"


class UploadDiffers(LaunchError):
    """What the bucket has is not what was sent."""

    status = 502
    code = "UPLOAD_DIFFERS"
    title = "Upload differs"


class LaunchStopped(LaunchError):
    """The work ends early, in its thread, because its caller was cancelled."""

    status = 503
    code = "LAUNCH_STOPPED"
    title = "Stopped"


class ConversionFailed(LaunchError):
    """The disks could not be made fit for the new machine; the overlays are of no use and are made anew."""

    code = "CONVERSION_FAILED"
    title = "Conversion failed"


class WishImpossible(LaunchError):
    """Other addresses, or a cloud-init, were asked for that the guest cannot be given; nothing is changed."""

    status = 409
    code = "WISH_IMPOSSIBLE"
    title = "Guest cannot have this"


class NotConvertible(LaunchError):
    """The target takes disks as they are."""

    status = 409
    code = "NOT_SUPPORTED"
    title = "Not supported"
