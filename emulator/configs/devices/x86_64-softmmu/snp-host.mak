# SPDX-License-Identifier: GPL-2.0-or-later
#
# The devices of the emulated SNP host.  It is the whole list: the build
# starts from --without-default-devices.

# The x86_64 target is built on the i386 one's symbols.
CONFIG_PCI=y
CONFIG_PCI_DEVICES=y

# The machine: chipset with ACPI, HPET and ICH9, two serial ports.
CONFIG_Q35=y
CONFIG_SERIAL_ISA=y
CONFIG_HPET=y

# SNP on the host needs the AMD IOMMU (SNP_INIT checks it).
CONFIG_AMD_IOMMU=y

# The Secure Processor: mailbox and firmware.
CONFIG_AMD_PSP=y

# A device that does DMA when told to: the one that tries the RMP from outside.
CONFIG_EDU=y
