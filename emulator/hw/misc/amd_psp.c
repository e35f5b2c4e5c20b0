/*
 * The host interface of AMD's Secure Processor (PSP, "ASP"): the SEV mailbox
 * that Linux's ccp driver finds in PCI device 1022:14CA.
 *
 * This file is registers and interrupt only; what a command does is in
 * snp_fw.c.  Commands run to completion inside the register write, on the
 * writing vCPU's thread and under the BQL; the mailbox is seen busy only if
 * delay= puts the answer off, or fail= keeps it for ever (FW-12: Linux
 * __sev_do_cmd_locked()).  Firmware addresses system memory directly, not
 * through the IOMMU.
 *
 * The register offsets are those of the "sevv2" interface (C2PMSG_32, _56,
 * _57, _59, _63 and the P2CMSG interrupt pair).  The other mailboxes of the
 * part (TEE, platform access) and its crypto engine are absent, and the
 * capability register says so.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "hw/pci/msi.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_device.h"
#include "hw/qdev-properties.h"
#include "qemu/timer.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qapi/qapi-types-snp-host.h"
#include "qapi/qapi-visit-snp-host.h"
#include "qemu/log.h"
#include "qom/object.h"
#include "target/i386/snp/snp_host.h"
#include "snp_fw.h"
#include "trace.h"

#define TYPE_AMD_PSP "amd-psp"
OBJECT_DECLARE_SIMPLE_TYPE(AMDPSPState, AMD_PSP)

#define AMD_PSP_DEVICE_ID       0x14ca
#define AMD_PSP_BAR             2
#define AMD_PSP_BAR_SIZE        (1 * MiB)

#define PSP_INTEN               0x10690     /* P2CMSG_INTEN */
#define PSP_INTSTS              0x10694     /* P2CMSG_INTSTS, W1C */
#define PSP_CMDRESP             0x10980     /* C2PMSG_32 */
#define PSP_CMDBUF_LO           0x109e0     /* C2PMSG_56 */
#define PSP_CMDBUF_HI           0x109e4     /* C2PMSG_57 */
#define PSP_BOOTLOADER          0x109ec     /* C2PMSG_59 */
#define PSP_CAPABILITY          0x109fc     /* C2PMSG_63 */

#define PSP_CMDRESP_RESP        (1u << 31)
#define PSP_CMDRESP_CMD_SHIFT   16
#define PSP_CMDRESP_CMD_MASK    0x7ffu
#define PSP_CMDRESP_IOC         (1u << 0)
#define PSP_INT_CMD_COMPLETE    (1u << 1)
#define PSP_CAPABILITY_SEV      (1u << 0)
/* what a register reads as that the platform does not expose */
#define PSP_NO_ACCESS           0xffffffffu

struct AMDPSPState {
    PCIDevice parent_obj;

    MemoryRegion mmio;
    SnpFw *fw;
    bool x86_snp_shutdown;
    uint32_t delay;             /* microseconds until an answer */
    AmdPspFaultList *fail;      /* nth counts down; 0: it has happened */
    QEMUTimer *timer;
    uint32_t command;           /* what was written */
    uint32_t answer;            /* what cmdresp will be */

    uint32_t int_enable;
    uint32_t int_status;
    uint32_t cmdresp;
    uint32_t cmdbuf_lo;
    uint32_t cmdbuf_hi;
};

static void amd_psp_answer(void *opaque)
{
    AMDPSPState *s = opaque;

    s->cmdresp = s->answer;
    if (s->command & PSP_CMDRESP_IOC) {
        s->int_status |= PSP_INT_CMD_COMPLETE;
        if ((s->int_enable & PSP_INT_CMD_COMPLETE) &&
            msi_enabled(PCI_DEVICE(s))) {
            msi_notify(PCI_DEVICE(s), 0);
        }
    }
}

/* NULL, or what fail= has in store for this command */
static const AmdPspFault *amd_psp_fault(AMDPSPState *s, unsigned cmd)
{
    for (AmdPspFaultList *l = s->fail; l; l = l->next) {
        if (l->value->command == cmd && l->value->nth && !--l->value->nth) {
            return l->value;
        }
    }
    return NULL;
}

static void amd_psp_command(AMDPSPState *s, uint32_t value)
{
    unsigned cmd = (value >> PSP_CMDRESP_CMD_SHIFT) & PSP_CMDRESP_CMD_MASK;
    uint64_t buf = (uint64_t)s->cmdbuf_hi << 32 | s->cmdbuf_lo;
    const AmdPspFault *fault;

    if (!(s->cmdresp & PSP_CMDRESP_RESP)) {
        qemu_log_mask(LOG_GUEST_ERROR, "amd-psp: command 0x%x, but the mailbox "
                      "is busy\n", cmd);
        return;
    }
    s->command = value;
    fault = amd_psp_fault(s, cmd);
    if (fault) {
        trace_amd_psp_fault(cmd, fault->has_status, fault->status);
    }
    if (fault && !fault->has_status) {
        s->cmdresp = value & ~PSP_CMDRESP_RESP;
        return;
    }
    s->answer = PSP_CMDRESP_RESP |
                (fault ? fault->status : snp_fw_command(s->fw, cmd, buf));
    if (s->delay) {
        s->cmdresp = value & ~PSP_CMDRESP_RESP;
        timer_mod(s->timer, qemu_clock_get_us(QEMU_CLOCK_VIRTUAL) + s->delay);
    } else {
        amd_psp_answer(s);
    }
}

static uint64_t amd_psp_read(void *opaque, hwaddr addr, unsigned size)
{
    AMDPSPState *s = opaque;
    uint32_t value = 0;

    switch (addr) {
    case PSP_INTEN:
        value = s->int_enable;
        break;
    case PSP_INTSTS:
        value = s->int_status;
        break;
    case PSP_CMDRESP:
        value = s->cmdresp;
        break;
    case PSP_CMDBUF_LO:
        value = s->cmdbuf_lo;
        break;
    case PSP_CMDBUF_HI:
        value = s->cmdbuf_hi;
        break;
    case PSP_BOOTLOADER:
        value = PSP_NO_ACCESS;
        break;
    case PSP_CAPABILITY:
        value = PSP_CAPABILITY_SEV;
        break;
    default:
        qemu_log_mask(LOG_UNIMP, "amd-psp: read of 0x%" HWADDR_PRIx "\n", addr);
        break;
    }

    trace_amd_psp_read(addr, value);
    return value;
}

static void amd_psp_write(void *opaque, hwaddr addr, uint64_t data,
                          unsigned size)
{
    AMDPSPState *s = opaque;
    uint32_t value = data;

    trace_amd_psp_write(addr, value);

    switch (addr) {
    case PSP_INTEN:
        s->int_enable = value;
        break;
    case PSP_INTSTS:
        s->int_status &= ~value;
        break;
    case PSP_CMDRESP:
        amd_psp_command(s, value);
        break;
    case PSP_CMDBUF_LO:
        s->cmdbuf_lo = value;
        break;
    case PSP_CMDBUF_HI:
        s->cmdbuf_hi = value;
        break;
    default:
        qemu_log_mask(LOG_UNIMP, "amd-psp: write of 0x%" HWADDR_PRIx "\n",
                      addr);
        break;
    }
}

static const MemoryRegionOps amd_psp_ops = {
    .read = amd_psp_read,
    .write = amd_psp_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid.min_access_size = 4,
    .valid.max_access_size = 4,
    .impl.min_access_size = 4,
    .impl.max_access_size = 4,
};

static void amd_psp_realize(PCIDevice *pdev, Error **errp)
{
    AMDPSPState *s = AMD_PSP(pdev);
    SnpHost *host = snp_host_get();
    bool ambiguous;

    if (!host) {
        error_setg(errp, "amd-psp needs an emulated SNP host: "
                   "add -object " TYPE_SNP_HOST ",id=snp");
        return;
    }
    /* realized devices are in the QOM tree already, this one included */
    object_resolve_path_type("", TYPE_AMD_PSP, &ambiguous);
    if (ambiguous) {
        error_setg(errp, "there can be only one amd-psp");
        return;
    }

    /* A bridge's bus reset would reset the firmware, and not the machine */
    if (!pci_bus_is_root(pci_get_bus(pdev))) {
        error_setg(errp, "amd-psp is a device of the root bus");
        return;
    }

    for (AmdPspFaultList *l = s->fail; l; l = l->next) {
        if (!l->value->has_nth) {
            l->value->has_nth = true;
            l->value->nth = 1;
        }
        if (l->value->command > PSP_CMDRESP_CMD_MASK || !l->value->nth) {
            error_setg(errp, "amd-psp: in 'fail', command is at most 0x%x and "
                       "nth at least 1", PSP_CMDRESP_CMD_MASK);
            return;
        }
    }
    if (msi_init(pdev, 0, 1, true, false, errp) < 0) {
        return;
    }
    s->timer = timer_new_us(QEMU_CLOCK_VIRTUAL, amd_psp_answer, s);

    memory_region_init_io(&s->mmio, OBJECT(s), &amd_psp_ops, s, TYPE_AMD_PSP,
                          AMD_PSP_BAR_SIZE);
    pci_register_bar(pdev, AMD_PSP_BAR, PCI_BASE_ADDRESS_SPACE_MEMORY,
                     &s->mmio);

    s->fw = snp_fw_new(host, s->x86_snp_shutdown);
}

static void amd_psp_exit(PCIDevice *pdev)
{
    AMDPSPState *s = AMD_PSP(pdev);

    timer_free(s->timer);
    snp_fw_free(s->fw);
    s->fw = NULL;
    msi_uninit(pdev);
}

static void amd_psp_reset_hold(Object *obj, ResetType type)
{
    AMDPSPState *s = AMD_PSP(obj);

    timer_del(s->timer);
    s->int_enable = 0;
    s->int_status = 0;
    s->cmdresp = PSP_CMDRESP_RESP;
    s->cmdbuf_lo = 0;
    s->cmdbuf_hi = 0;
    snp_fw_reset(s->fw);
}

static void amd_psp_get_fail(Object *obj, Visitor *v, const char *name,
                             void *opaque, Error **errp)
{
    visit_type_AmdPspFaultList(v, name, &AMD_PSP(obj)->fail, errp);
}

static void amd_psp_set_fail(Object *obj, Visitor *v, const char *name,
                             void *opaque, Error **errp)
{
    AMDPSPState *s = AMD_PSP(obj);
    AmdPspFaultList *list = NULL;

    if (DEVICE(obj)->realized) {
        qdev_prop_set_after_realize(DEVICE(obj), name, errp);
    } else if (visit_type_AmdPspFaultList(v, name, &list, errp)) {
        qapi_free_AmdPspFaultList(s->fail);
        s->fail = list;
    }
}

static void amd_psp_finalize(Object *obj)
{
    qapi_free_AmdPspFaultList(AMD_PSP(obj)->fail);
}

static const Property amd_psp_properties[] = {
    /* offer SNP_SHUTDOWN_EX's X86_SNP_SHUTDOWN, as firmware after 1.55 does */
    DEFINE_PROP_BOOL("x86-snp-shutdown", AMDPSPState, x86_snp_shutdown, false),
    /* how late answers come */
    DEFINE_PROP_UINT32("delay", AMDPSPState, delay, 0),
};

static const VMStateDescription vmstate_amd_psp = {
    .name = TYPE_AMD_PSP,
    .unmigratable = 1,
};

static void amd_psp_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(klass);
    ResettableClass *rc = RESETTABLE_CLASS(klass);

    k->realize = amd_psp_realize;
    k->exit = amd_psp_exit;
    k->vendor_id = PCI_VENDOR_ID_AMD;
    k->device_id = AMD_PSP_DEVICE_ID;
    k->class_id = PCI_CLASS_CRYPT_OTHER;
    rc->phases.hold = amd_psp_reset_hold;
    device_class_set_props(dc, amd_psp_properties);
    object_class_property_add(klass, "fail", "AmdPspFaultList",
                              amd_psp_get_fail, amd_psp_set_fail, NULL, NULL);
    object_class_property_set_description(klass, "fail",
        "what commands end in instead of being run");
    dc->vmsd = &vmstate_amd_psp;
    dc->hotpluggable = false;
    dc->desc = "AMD Secure Processor with SEV-SNP firmware (experimental)";
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo amd_psp_info = {
    .name = TYPE_AMD_PSP,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(AMDPSPState),
    .instance_finalize = amd_psp_finalize,
    .class_init = amd_psp_class_init,
    .interfaces = (const InterfaceInfo[]) {
        { INTERFACE_CONVENTIONAL_PCI_DEVICE },
        { },
    },
};

static void amd_psp_register_types(void)
{
    type_register_static(&amd_psp_info);
}

type_init(amd_psp_register_types)
