# SPDX-License-Identifier: GPL-2.0-only
#
# The devices of the QEMU that tests/qemu runs on; it is the whole list.
CONFIG_PCI=y
CONFIG_PCI_DEVICES=y
CONFIG_Q35=y
CONFIG_SERIAL_ISA=y
CONFIG_HPET=y
CONFIG_AMD_IOMMU=y
CONFIG_EDU=y
# Without these QEMU 10.2 does not link.
CONFIG_PCIE_PORT=y
CONFIG_PXB=y
CONFIG_CXL=y
CONFIG_CXL_MEM_DEVICE=y
