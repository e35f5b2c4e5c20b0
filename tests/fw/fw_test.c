/*
 * The firmware of the emulated Secure Processor and the SNP part of the IOMMU,
 * command by command: what each accepts, and what it refuses with which status.
 * Test names start with the rule of emulator/README.md that they hold to.
 *
 * One pass over the life of a platform: before SNP, SNP_INIT, guests, legacy
 * guests, DMA, shutdown.  Later tests stand on earlier ones.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "snp.h"
#include "digest.h"

/* ---- pages and the RMP ---- */

/* 4 KB pages of the first region of AREA, one job each */
#define PAGE(n)         (AREA + (n) * K4)
#define EVENT_LOG       PAGE(1)
#define STORE           PAGE(2)
#define DEVTAB          PAGE(3)
#define HV_FIXED        PAGE(4)
#define FW              PAGE(5)     /* Firmware all the time */
#define CTX             PAGE(6)
#define CTX2            PAGE(7)
#define SCRATCH         PAGE(8)     /* Hypervisor between tests */
#define G_NORMAL        PAGE(10)
#define G_PERMS         PAGE(11)
#define G_ZERO          PAGE(12)
#define G_UNMEASURED    PAGE(13)
#define G_SECRETS       PAGE(14)
#define G_CPUID         PAGE(15)
#define G_VMSA          PAGE(16)
#define G_OTHER         PAGE(17)
#define CMDBUF          PAGE(18)
#define IOMMU_COMMANDS  PAGE(19)
#define BIG             (AREA + M2)
#define TMR             (AREA + 2 * M2)
#define BIG_FW          (AREA + 3 * M2)

#define ASID            5
#define ASID2           6
#define ASID_LAST       7           /* no later guest gets it */
#define ASID_SEV        100

/* ---- before SNP ---- */

/* A command that nobody knows, and its answer, late as that may be. */
static void bad_command(uint32_t ioc)
{
    mmio_write(PSP_CMDRESP, 0x7f << 16 | ioc);
    while (!(mmio_read(PSP_CMDRESP) & 0x80000000u)) {
        ;
    }
}

static void test_mailbox(void)
{
    volatile uint32_t *zero;

    is(mmio_read(PSP_CAPABILITY), 1, "capability: SEV and nothing else");
    is(command_at(0x7f, 0), NO_COMMAND, "FW-08: 7Fh is no command");
    is(command_at(0xd0, 0), NO_COMMAND, "FW-08: D0h is no command");
    mmio_write(PSP_INTSTS, ~0u);
    bad_command(0);
    is(mmio_read(PSP_INTSTS), 0, "no interrupt status without IOC");
    bad_command(1);
    is(mmio_read(PSP_INTSTS), 2, "interrupt status with IOC");
    mmio_write(PSP_INTSTS, 2);
    is(mmio_read(PSP_INTSTS), 0, "interrupt status is write 1 to clear");
    /* The address of an MSI that nobody has set is 0 */
    asm("" : "=r"(zero) : "0"(0));
    *zero = 0x5a5a5a5a;
    mmio_write(PSP_INTEN, 2);
    bad_command(1);
    mmio_write(PSP_INTEN, 0);
    mmio_write(PSP_INTSTS, 2);
    is(*zero, 0x5a5a5a5a, "no interrupt while MSI is off");
}

/* Returns whether X86_SNP_SHUTDOWN is offered */
static bool test_uninit(void)
{
    uint8_t *status = (uint8_t *)SCRATCH;
    uint32_t *feature = (uint32_t *)SCRATCH;

    is(command_at(SNP_DF_FLUSH, 0), PLATFORM_STATE,
       "FW-01: SNP_DF_FLUSH before SNP_INIT");
    is(COMMAND(SNP_PAGE_RECLAIM, SCRATCH), PLATFORM_STATE,
       "FW-01: SNP_PAGE_RECLAIM before SNP_INIT");
    is(COMMAND(SNP_GCTX_CREATE, SCRATCH), PLATFORM_STATE,
       "FW-01: SNP_GCTX_CREATE before SNP_INIT");
    is(COMMAND(SNP_SHUTDOWN_EX, PAIR(8, 1)), PLATFORM_STATE,
       "FW-01: SNP_SHUTDOWN_EX before SNP_INIT");
    is(command_at(SNP_PLATFORM_STATUS, NOWHERE), ADDRESS,
       "FW-05: command buffer outside RAM");
    is(COMMAND(SNP_PLATFORM_STATUS, NOWHERE), ADDRESS,
       "FW-05: status buffer outside RAM");
    is(COMMAND(SNP_PLATFORM_STATUS, ~0ull - 3), ADDRESS,
       "FW-05: status buffer at the end of the address space");
    is(COMMAND(SNP_PLATFORM_STATUS, SCRATCH + 3), OK,
       "FWCMD-05: SNP_PLATFORM_STATUS before SNP_INIT");
    memcpy(status, status + 3, 32);
    is(status[0] << 8 | status[1], 0x0137, "FWCMD-05: API 1.55");
    is(status[2] | status[3] << 8, 0, "FWCMD-05: UNINIT, no RMP");
    is(COMMAND(SNP_FEATURE_INFO, PAIR(15, 0), SCRATCH), LENGTH,
       "FW-07: SNP_FEATURE_INFO with a wrong length");
    is(COMMAND(SNP_FEATURE_INFO, PAIR(16, 1), SCRATCH), PARAM,
       "FWCMD-06: unknown leaf");
    is(COMMAND(SNP_FEATURE_INFO, PAIR(16, 0), SCRATCH + 4), ADDRESS,
       "FWCMD-06: misaligned");
    is(COMMAND(SNP_FEATURE_INFO, PAIR(16, 0), SCRATCH + K4 - 8), ADDRESS,
       "FWCMD-06: crosses a page");
    is(COMMAND(SNP_FEATURE_INFO, PAIR(16, 0), SCRATCH), OK,
       "FWCMD-06: SNP_FEATURE_INFO");
    is(COMMAND(SNP_COMMIT, 5), LENGTH, "FWCMD-22: SNP_COMMIT, wrong length");
    is(COMMAND(SNP_COMMIT, 4), OK, "FWCMD-22: SNP_COMMIT");
    is(COMMAND(SNP_CONFIG, 0), PLATFORM_STATE,
       "FWCMD-22: SNP_CONFIG before SNP_INIT");
    is(COMMAND(DOWNLOAD_FIRMWARE, SCRATCH, K4), BAD_SIGNATURE,
       "FWCMD-22: no image is accepted");
    is(command_at(0xb2, 0), UNSUPPORTED, "FWCMD-22: SNP_VERIFY_MITIGATION");
    return feature[2] & 2;
}

static void test_legacy_before_snp(void)
{
    uint8_t *status = (uint8_t *)SCRATCH;

    is(command_at(SHUTDOWN, 0), PLATFORM_STATE, "SHUTDOWN before INIT");
    is(command_at(DF_FLUSH, 0), PLATFORM_STATE, "DF_FLUSH before INIT");
    is(COMMAND(ACTIVATE, PAIR(1, ASID)), PLATFORM_STATE,
       "ACTIVATE before INIT");
    is(COMMAND(GET_ID, SCRATCH, 63), LENGTH, "FW-07: GET_ID, 63 bytes");
    is(words[1], 128, "GET_ID wants 128");
    is(COMMAND(GET_ID, SCRATCH, 64), OK, "GET_ID of one socket");
    is(words[1], 64, "GET_ID of one socket: 64 bytes");
    is(COMMAND(INIT, 2), PARAM, "FW-06: INIT with a reserved flag");
    is(COMMAND(INIT, 1, TMR, 0x80000), LENGTH, "INIT with a small TMR");
    is(COMMAND(INIT, 1, TMR + K4, 0x100000), ADDRESS,
       "INIT with a misaligned TMR");
    is(COMMAND(INIT, 1, NOWHERE, 0x100000), ADDRESS,
       "INIT with a TMR outside RAM");
    is(COMMAND(INIT, 1, TMR, 0x100000), OK, "INIT with SEV-ES");
    is(COMMAND(INIT, 1, TMR, 0x100000), PLATFORM_STATE, "INIT twice");
    is(command_at(PLATFORM_STATUS, (uint64_t)status), OK, "PLATFORM_STATUS");
    is(status[2] | status[4] << 8, 0x101, "platform is INIT, with SEV-ES");
    is(command_at(DF_FLUSH, 0), WBINVD_REQUIRED,
       "FWCMD-07: DF_FLUSH without WBINVD");
    wbinvd();
    is(command_at(DF_FLUSH, 0), OK, "FWCMD-07: DF_FLUSH after WBINVD");
    is(COMMAND(SNP_INIT_EX, 1), PLATFORM_STATE,
       "FWCMD-04: SNP_INIT_EX after INIT");
    is(command_at(SHUTDOWN, 0), OK, "SHUTDOWN");
}

/* ---- SNP_INIT_EX ---- */

struct range_list {
    uint32_t count, reserved;
    struct { uint64_t base; uint32_t pages, reserved; } range[255];
};

static struct range_list ranges __attribute__((aligned(4096)));

/* Nothing before SNP_EN; then each thing that a core must have */
static void test_init_config(void)
{
    is(COMMAND(SNP_INIT_EX, 1), CONFIG, "FWCMD-01: SNP_EN is 0");
    wrmsr(MSR_SYSCFG, rdmsr(MSR_SYSCFG) | SYSCFG_MFDM);
    wrmsr(MSR_SYSCFG, rdmsr(MSR_SYSCFG) | SYSCFG_SNP_EN | SYSCFG_VMPL_EN);
    wrmsr(MSR_VM_HSAVE_PA, SCRATCH);
    is(COMMAND(SNP_INIT_EX, 1), CONFIG, "FWCMD-01: VM_HSAVE_PA is not 0");
    wrmsr(MSR_VM_HSAVE_PA, 0);
    is(COMMAND(SNP_INIT_EX, 1), CONFIG, "DMA-02: the IOMMU is off");

    /* logs of 256 entries, completion store of one page, then on */
    memset((void *)DEVTAB, 0, K4);
    mmio_write64(IOMMU_BASE + 0x00, DEVTAB);
    mmio_write64(IOMMU_BASE + 0x08, IOMMU_COMMANDS | 8ull << 56);
    mmio_write64(IOMMU_BASE + 0x10, EVENT_LOG | 8ull << 56);
    mmio_write64(IOMMU_BASE + 0x20, STORE);
    mmio_write64(IOMMU_BASE + 0x28, STORE);
    mmio_write64(IOMMU_BASE + 0x18, 1 | 1 << 2 | 1 << 12);
    is(mmio_read64(IOMMU_BASE + 0x30) >> 63, 1, "DMA-02: EFR has SNPSup");
    is(mmio_read64(IOMMU_BASE + 0x20), STORE,
       "DMA-03: completion store base reads back");

    is(COMMAND(SNP_INIT_EX, 0), RMP_INIT_REQUIRED,
       "FWCMD-01: INIT_RMP is 0 the first time");
    is(COMMAND(SNP_INIT_EX, 1 << 5 | 1), PARAM, "FW-06: reserved flag");
    is(COMMAND(SNP_INIT_EX, PAIR(1, 1)), PARAM, "FW-06: reserved field");
    is(COMMAND(SNP_INIT_EX, 1, 0, 0, 1), PARAM, "FW-06: reserved tail");
    is(COMMAND(SNP_INIT_EX, 8 | 1, 0, ASID), UNSUPPORTED,
       "FWCMD-01: ciphertext hiding is not offered");
    is(COMMAND(SNP_INIT_EX, 3, (uint64_t)&ranges + 8), ADDRESS,
       "FWCMD-03: list not page aligned");
    is(COMMAND(SNP_INIT_EX, 3, NOWHERE), ADDRESS,
       "FWCMD-03: list outside RAM");
    ranges.count = 256;
    is(COMMAND(SNP_INIT_EX, 3, (uint64_t)&ranges), PARAM,
       "FWCMD-03: list longer than a page");
    ranges.count = 1;
    ranges.range[0].base = HV_FIXED + 1;
    ranges.range[0].pages = 1;
    is(COMMAND(SNP_INIT_EX, 3, (uint64_t)&ranges), PARAM,
       "FWCMD-03: range not page aligned");
    ranges.range[0].base = EVENT_LOG;
    is(COMMAND(SNP_INIT_EX, 3, (uint64_t)&ranges), PAGE_STATE,
       "FWCMD-03: range over an IOMMU buffer");
    is(COMMAND(SNP_PLATFORM_STATUS, SCRATCH), OK,
       "FW-09: no page state before SNP_INIT, though SNP_EN is 1");
    is(((uint8_t *)SCRATCH)[2], 0, "FWCMD-01: a failed SNP_INIT_EX inits not");
}

static void test_init(void)
{
    uint64_t rmp = rdmsr(MSR_RMP_BASE);

    /* overlapping, over the RMP, and beyond what the RMP covers */
    ranges.count = 4;
    ranges.range[0].base = HV_FIXED;
    ranges.range[0].pages = 1;
    ranges.range[1] = ranges.range[0];
    ranges.range[2].base = rmp;
    ranges.range[2].pages = 256;
    ranges.range[3].base = 0xfd00000000ull;
    ranges.range[3].pages = 0x300000;
    is(COMMAND(SNP_INIT_EX, 3, (uint64_t)&ranges), OK, "FWCMD-01: SNP_INIT_EX");
    is(COMMAND(SNP_INIT_EX, 3, (uint64_t)&ranges), PLATFORM_STATE,
       "FWCMD-01: SNP_INIT_EX twice");
    is(*raw(HV_FIXED), 4, "FWCMD-03: listed page is HV-fixed");
    is(rmpupdate(HV_FIXED, 0, true, false, false, ASID), 2,
       "FWPAGE-03: RMPUPDATE of an HV-fixed page");
    mmio_write(HV_FIXED, 1);
    is(mmio_read(HV_FIXED), 1, "HOST-09: HV-fixed is writable");
    is(*raw(rmp + K4), 0x8000000000000005ull, "GEOM-07: the RMP's own page");
    is(rmpupdate(rmp, 0, false, false, false, 0), 2,
       "GEOM-07: RMPUPDATE of the RMP's own page");
    is(*raw(EVENT_LOG), 5, "DMA-03: event log is Firmware");
    is(*raw(STORE), 5, "DMA-03: completion store is Firmware");
    mmio_write64(IOMMU_BASE + 0x10, SCRATCH | 8ull << 56);
    is(mmio_read64(IOMMU_BASE + 0x10), EVENT_LOG | 8ull << 56,
       "DMA-03: event log base is locked");
    mmio_write64(IOMMU_BASE + 0x20, SCRATCH);
    is(mmio_read64(IOMMU_BASE + 0x20), STORE,
       "DMA-03: completion store base is locked");
    is(command_at(SNP_DF_FLUSH, 0), WBINVD_REQUIRED,
       "FWCMD-02: SNP_DF_FLUSH without WBINVD after SNP_INIT_EX");
}

/* ---- page states ---- */

static void test_pages(void)
{
    make_firmware(FW);
    is(COMMAND(SNP_PLATFORM_STATUS, SCRATCH), PAGE_STATE,
       "FW-09: status page is the hypervisor's");
    is(COMMAND(SNP_PLATFORM_STATUS, FW + 8), ADDRESS,
       "FW-05: status page not aligned");
    is(*raw(FW), 5, "FWCMD-05: refused, page stays Firmware");
    is(COMMAND(SNP_PLATFORM_STATUS, FW), OK, "FWCMD-05: SNP_PLATFORM_STATUS");
    is(((uint8_t *)FW)[2] | ((uint8_t *)FW)[3] << 8, 0x301,
       "FWCMD-05: INIT, RMP initialized, no aliases");
    is(*raw(FW), 1, "FWCMD-05: page is left in Reclaim");
    is(COMMAND(SNP_PAGE_RECLAIM, FW), OK, "FWCMD-17: reclaim a Reclaim page");
    make_shared(FW);
    make_firmware(FW);
    is(rmpupdate(FW, 0, false, false, false, 0), 2,
       "FWPAGE-05: RMPUPDATE of a Firmware page");
    is(COMMAND(SNP_PAGE_RECLAIM, SCRATCH), PAGE_STATE,
       "FWCMD-17: reclaim a Hypervisor page");
    is(COMMAND(SNP_PAGE_RECLAIM, HV_FIXED), PAGE_STATE,
       "FWCMD-17: reclaim an HV-fixed page");
    is(COMMAND(SNP_PAGE_RECLAIM, FW + 2), ADDRESS, "FWCMD-17: misaligned");
    is(COMMAND(SNP_PAGE_RECLAIM, NOWHERE), ADDRESS, "FWCMD-17: outside RAM");
    is(COMMAND(SNP_PAGE_RECLAIM, AREA | 1), PAGE_STATE,
       "FWCMD-17: reclaim 2 MB of Hypervisor pages");
    make(BIG_FW, 0, true, true, 0);
    is(COMMAND(SNP_PAGE_RECLAIM, BIG_FW), PAGE_SIZE,
       "FWCMD-17: reclaim 4 KB of a 2 MB page");
    is(COMMAND(SNP_FEATURE_INFO, PAIR(16, 0), BIG_FW), PAGE_SIZE,
       "FW-13: output to a 2 MB Firmware page");
    is(COMMAND(SNP_PAGE_RECLAIM, BIG_FW | 1), OK, "FWCMD-17: reclaim 2 MB");
    if (rmpupdate(BIG_FW, 0, false, true, false, 0)) {
        bail("cannot free", BIG_FW);
    }
    is(COMMAND(SNP_FEATURE_INFO, PAIR(16, 0), SCRATCH), PAGE_STATE,
       "FW-09: SNP_FEATURE_INFO to a Hypervisor page");
    is(COMMAND(SNP_FEATURE_INFO, PAIR(16, 0), FW), OK,
       "FW-09: SNP_FEATURE_INFO to a Firmware page");
    is(*raw(FW), 5, "FW-09: which stays Firmware");
    is(command_at(PLATFORM_STATUS, SCRATCH), PAGE_STATE,
       "FW-10: PLATFORM_STATUS, command buffer the hypervisor's");
    is(command_at(PLATFORM_STATUS, FW), OK,
       "FW-10: PLATFORM_STATUS, command buffer Firmware");
    make(SCRATCH, 0x1000, false, false, ASID2);
    is(command_at(SNP_COMMIT, SCRATCH), ADDRESS,
       "FW-11: command buffer private to a guest");
    make_shared(SCRATCH);
}

static void test_config(void)
{
    is(COMMAND(SNP_CONFIG, 0, 4), PARAM, "FW-06: SNP_CONFIG, reserved flag");
    is(COMMAND(SNP_CONFIG, 0, 0, 0, 0, 0, 0, 0, 1), PARAM,
       "FW-06: SNP_CONFIG, reserved tail");
    is(COMMAND(SNP_CONFIG, 0xff), PARAM, "FWCMD-22: TCB too new");
    is(COMMAND(SNP_CONFIG, 3, 1), OK, "FWCMD-22: SNP_CONFIG");
    is(COMMAND(SNP_PLATFORM_STATUS, FW), OK, "FWCMD-22: and its status");
    is(((uint64_t *)FW)[3], 3, "FWCMD-22: reported TCB");
    is(((uint32_t *)FW)[2] & 3, 1, "FWCMD-22: MASK_CHIP_ID");
    COMMAND(SNP_CONFIG, 0);
    reclaim(FW);
    make_firmware(FW);
}

/* ---- SNP guests ---- */

#define POLICY_ONE      (1ull << 17)
#define POLICY_SMT      (1ull << 16)
#define POLICY_DEBUG    (1ull << 19)
#define GOOD_POLICY     (POLICY_ONE | POLICY_SMT | POLICY_DEBUG)

static void test_launch_start(void)
{
    unsigned i;

    is(COMMAND(SNP_GCTX_CREATE, SCRATCH), PAGE_STATE,
       "FWCMD-08: context page is the hypervisor's");
    is(COMMAND(SNP_GCTX_CREATE, FW + 16), ADDRESS, "FW-05: misaligned context");
    is(COMMAND(SNP_LAUNCH_START, FW, GOOD_POLICY), NO_GUEST,
       "FW-04: a Firmware page is no context");
    is(COMMAND(SNP_LAUNCH_START, NOWHERE, GOOD_POLICY), ADDRESS,
       "FW-05: context outside RAM");
    make_firmware(CTX);
    make_firmware(CTX2);
    is(COMMAND(SNP_GCTX_CREATE, CTX), OK, "FWCMD-08: SNP_GCTX_CREATE");
    is(*raw(CTX) & ~(1ull << 61), 5, "FWPAGE-06: Context page");
    is(*raw(CTX) >> 61 & 1, 1, "FWPAGE-06: with the VMSA bit");
    is(COMMAND(SNP_GCTX_CREATE, CTX), PAGE_STATE,
       "FWCMD-08: context page is a context already");
    is(COMMAND(SNP_PAGE_RECLAIM, CTX), PAGE_STATE,
       "FWCMD-17: reclaim a Context page");
    is(COMMAND(SNP_GCTX_CREATE, CTX2), OK, "FWCMD-08: a second guest");

    is(COMMAND(SNP_ACTIVATE, CTX, ASID), GUEST_STATE,
       "FW-03: SNP_ACTIVATE before SNP_LAUNCH_START");
    is(COMMAND(SNP_LAUNCH_UPDATE, CTX, 1 << 1, G_NORMAL), GUEST_STATE,
       "FW-03: SNP_LAUNCH_UPDATE before SNP_LAUNCH_START");
    is(COMMAND(SNP_LAUNCH_START, CTX, POLICY_SMT), POLICY,
       "FWCMD-09: policy bit 17 is 0");
    for (i = 22; i < 64; i += i == 24 ? 2 : 1) {
        is(COMMAND(SNP_LAUNCH_START, CTX, GOOD_POLICY | 1ull << i), POLICY,
           "FWCMD-09: policy asks for what is not there, or is reserved");
    }
    is(COMMAND(SNP_LAUNCH_START, CTX, GOOD_POLICY | 0x138), POLICY,
       "FWCMD-09: policy asks for API 1.56");
    is(COMMAND(SNP_LAUNCH_START, CTX, GOOD_POLICY, 0, 4), PARAM,
       "FW-06: SNP_LAUNCH_START, reserved flag");
    is(COMMAND(SNP_LAUNCH_START, CTX, GOOD_POLICY, CTX2, 1), POLICY,
       "FWCMD-09: migration agent against the policy");
    is(COMMAND(SNP_LAUNCH_START, CTX, POLICY_ONE | POLICY_DEBUG | 0x137), OK,
       "FWCMD-09: SNP_LAUNCH_START, no SMT needed here, API 1.55");
    is(COMMAND(SNP_LAUNCH_START, CTX, GOOD_POLICY), GUEST_STATE,
       "FW-03: SNP_LAUNCH_START twice");
    is(COMMAND(SNP_LAUNCH_START, CTX2,
               POLICY_ONE | 1ull << 21 | 1ull << 25), OK,
       "FWCMD-09: a second guest, without DEBUG");
}

static void test_activate(void)
{
    make(G_NORMAL, 0x1000, false, true, ASID);
    is(COMMAND(SNP_LAUNCH_UPDATE, CTX, 1 << 1, G_NORMAL), INACTIVE,
       "FWCMD-11: SNP_LAUNCH_UPDATE before SNP_ACTIVATE");
    is(COMMAND(SNP_ACTIVATE, CTX, 0), BAD_ASID, "FWCMD-10: ASID 0");
    is(COMMAND(SNP_ACTIVATE, CTX, ASID_SEV), BAD_ASID,
       "FWCMD-10: ASID of SEV guests");
    is(COMMAND(SNP_ACTIVATE, CTX, 100000), BAD_ASID,
       "FWCMD-10: ASID out of range");
    is(COMMAND(SNP_ACTIVATE, CTX, ASID), DFFLUSH_REQUIRED,
       "FWCMD-02: SNP_ACTIVATE before the first SNP_DF_FLUSH");
    asm volatile(".byte 0xf3; wbinvd" : : : "memory");
    is(command_at(SNP_DF_FLUSH, 0), WBINVD_REQUIRED,
       "FWCMD-07: SNP_DF_FLUSH after WBNOINVD");
    wbinvd();
    is(command_at(SNP_DF_FLUSH, 0), OK, "FWCMD-07: SNP_DF_FLUSH after WBINVD");
    is(COMMAND(SNP_ACTIVATE, CTX, ASID), CONFIG,
       "FWCMD-10: the ASID has a page already");
    reclaim(G_NORMAL);
    is(COMMAND(SNP_ACTIVATE, CTX, ASID), OK, "FWCMD-10: SNP_ACTIVATE");
    is(COMMAND(SNP_ACTIVATE, CTX, ASID2), ACTIVE, "FWCMD-10: active already");
    is(COMMAND(SNP_ACTIVATE, CTX2, ASID), ASID_OWNED, "FWCMD-10: ASID in use");
    is(COMMAND(SNP_ACTIVATE, CTX2, ASID2), OK,
       "FWCMD-10: the second guest, its own ASID");
}

#define UPDATE(ctx, type, spa) COMMAND(SNP_LAUNCH_UPDATE, ctx, (type) << 1, spa)

#define ENTRY(gpa, asid, bits) \
    ((gpa) | (uint64_t)(asid) << 51 | 1 | (uint64_t)(bits) << 61)

struct cpuid_page {
    uint32_t count, reserved1;
    uint64_t reserved2;
    struct {
        uint32_t eax_in, ecx_in;
        uint64_t xcr0_in, xss_in;
        uint32_t eax, ebx, ecx, edx;
        uint64_t reserved;
    } function[64];
};

static void test_cpuid_page(struct cpuid_page *page)
{
    enum { DEADLINE = 1u << 24, HYPERVISOR = 1u << 31 };
    uint32_t eax = 1, ebx, ecx = 0, edx;

    asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    page->count = 64;
    page->function[0].eax_in = 1;
    page->function[0].ecx = ecx | DEADLINE | HYPERVISOR;
    page->function[0].edx = edx;
    page->function[1].reserved = 1;
    make(G_CPUID, 0x6000, false, true, ASID);
    is(UPDATE(CTX, 6, G_CPUID), PARAM, "FWCMD-13: CPUID, reserved field");
    reclaim(G_CPUID);
    page->function[1].reserved = 0;
    make(G_CPUID, 0x6000, false, true, ASID);
    is(UPDATE(CTX, 6, G_CPUID), PARAM,
       "FWCMD-13: CPUID with a bit that the processor lacks");
    reclaim(G_CPUID);
    is(page->function[0].ecx, (ecx & ~DEADLINE) | HYPERVISOR,
       "FWCMD-13: the host reads what would be taken");
    is(page->function[0].edx, edx, "FWCMD-13: the rest is as it was");
    make(G_CPUID, 0x6000, false, true, ASID);
    is(UPDATE(CTX, 6, G_CPUID), OK, "FWCMD-13: CPUID");
}

static void test_launch_update(void)
{
    unsigned i;

    is(UPDATE(CTX, 1, SCRATCH), PAGE_STATE, "FWCMD-11: a Hypervisor page");
    make(SCRATCH, 0x9000, false, false, ASID);
    is(UPDATE(CTX, 1, SCRATCH), PAGE_STATE, "FWCMD-11: a Guest-Invalid page");
    make_shared(SCRATCH);
    is(UPDATE(CTX, 1, FW), PAGE_STATE, "FWCMD-11: a Firmware page");
    make(G_OTHER, 0x9000, false, true, ASID2);
    is(UPDATE(CTX, 1, G_OTHER), PAGE_OWNER, "FWCMD-11: page of another guest");
    is(UPDATE(CTX, 1, NOWHERE), ADDRESS, "FW-05: page outside RAM");

    fill(G_NORMAL, 0x5a);
    make(G_NORMAL, 0x1000, false, true, ASID);
    is(UPDATE(CTX, 0, G_NORMAL), PARAM, "FWCMD-11: page type 0");
    is(UPDATE(CTX, 7, G_NORMAL), PARAM, "FWCMD-11: page type 7");
    is(COMMAND(SNP_LAUNCH_UPDATE, CTX, 1 << 1 | 1 << 4, G_NORMAL), PARAM,
       "FWCMD-11: IMI page, guest launched without");
    is(COMMAND(SNP_LAUNCH_UPDATE, CTX, 1 << 1 | 1 << 5, G_NORMAL), PARAM,
       "FW-06: SNP_LAUNCH_UPDATE, reserved flag");
    is(COMMAND(SNP_LAUNCH_UPDATE, CTX, 1 << 1, G_NORMAL, 1), PARAM,
       "FW-06: SNP_LAUNCH_UPDATE, reserved byte");
    is(COMMAND(SNP_LAUNCH_UPDATE, CTX, 1 << 1, G_NORMAL, 0x20 << 8), PARAM,
       "FWCMD-11: VMPL1 permissions out of range");
    is(COMMAND(SNP_LAUNCH_UPDATE, CTX, 1 << 1 | 1, G_NORMAL), ADDRESS,
       "FW-05: 2 MB at a 4 KB address");
    is(*raw(G_NORMAL), ENTRY(0x1000, ASID, 0) | 4,
       "FWCMD-14: after refusals the page is Pre-Guest still");

    is(UPDATE(CTX, 1, G_NORMAL), OK, "FWCMD-11: NORMAL");
    is(*raw(G_NORMAL), ENTRY(0x1000, ASID, 2), "FWCMD-11: Guest-Valid");
    is(raw(G_NORMAL)[1], 0x1f, "FWCMD-11: VMPL0 may do everything");
    is(UPDATE(CTX, 1, G_NORMAL), PAGE_STATE, "FWCMD-11: a Guest-Valid page");

    fill(G_PERMS, 0xa5);
    make(G_PERMS, 0x2000, false, true, ASID);
    is(COMMAND(SNP_LAUNCH_UPDATE, CTX, 1 << 1, G_PERMS, 0x04020100), OK,
       "FWCMD-11: NORMAL with permissions of VMPL1..3");
    is(raw(G_PERMS)[1], 0x0402011f, "FWCMD-11: which are in the RMP");

    fill(G_ZERO, 0xee);
    make(G_ZERO, 0x3000, false, true, ASID);
    is(UPDATE(CTX, 3, G_ZERO), OK, "FWCMD-13: ZERO");
    is(*(uint64_t *)G_ZERO != 0, 1, "ENC-01: ZERO is ciphertext to the host");

    make(G_UNMEASURED, 0x4000, false, true, ASID);
    is(UPDATE(CTX, 4, G_UNMEASURED), OK, "FWCMD-13: UNMEASURED");

    fill(G_SECRETS, 0xee);
    make(G_SECRETS, 0x5000, false, true, ASID);
    is(UPDATE(CTX, 5, G_SECRETS), OK, "FWCMD-13: SECRETS");

    fill(G_CPUID, 0);
    *(uint32_t *)G_CPUID = 65;
    make(G_CPUID, 0x6000, false, true, ASID);
    is(UPDATE(CTX, 6, G_CPUID), PARAM, "FWCMD-13: CPUID with 65 entries");
    is(*raw(G_CPUID), ENTRY(0x6000, ASID, 0) | 4,
       "FWCMD-14: the CPUID page is Pre-Guest still");
    reclaim(G_CPUID);
    test_cpuid_page((struct cpuid_page *)G_CPUID);

    for (i = 0; i < 512; i++) {
        fill(BIG + i * K4, 0x3c);
    }
    make(BIG, 0x200000, true, true, ASID);
    is(UPDATE(CTX, 1, BIG), PAGE_SIZE, "FWCMD-11: 4 KB of a 2 MB page");
    is(COMMAND(SNP_LAUNCH_UPDATE, CTX, 2 << 1 | 1, BIG), PAGE_SIZE,
       "FWCMD-12: VMSA of 2 MB");
    is(COMMAND(SNP_LAUNCH_UPDATE, CTX, 1 << 1 | 1, BIG), OK,
       "FWCMD-11: NORMAL of 2 MB");

    fill(G_VMSA, 0x11);
    make(G_VMSA, 0xfffffffff000ull, false, true, ASID);
    is(UPDATE(CTX, 2, G_VMSA), OK, "FWCMD-12: VMSA");
    is(*raw(G_VMSA), ENTRY(0xfffffffff000ull, ASID, 3),
       "FWCMD-12: the VMSA bit is set, the GPA kept");
}

struct id_block {
    uint8_t ld[48];
    uint8_t family[16], image[16];
    uint32_t version, svn;
    uint64_t policy;
};

#define FINISH(flags) \
    COMMAND(SNP_LAUNCH_FINISH, CTX, (uint64_t)&id, (uint64_t)auth, flags)

static void test_launch_finish(void)
{
    static const uint8_t digest[48] = EXPECTED_DIGEST;
    static struct id_block id;
    static uint32_t auth[1024];

    id.version = 1;
    id.policy = POLICY_ONE | POLICY_DEBUG | 0x137;
    memcpy(id.ld, digest, sizeof(digest));
    auth[0] = auth[1] = 1;

    is(COMMAND(SNP_GUEST_REQUEST, CTX, SCRATCH, FW), GUEST_STATE,
       "FW-03: SNP_GUEST_REQUEST during launch");
    is(COMMAND(SNP_DBG_DECRYPT, CTX, G_NORMAL, FW), GUEST_STATE,
       "FW-03: SNP_DBG_DECRYPT during launch");
    is(FINISH(8), PARAM, "FW-06: SNP_LAUNCH_FINISH, reserved flag");
    is(FINISH(2), PARAM, "FWCMD-15: author key without ID block");
    id.version = 2;
    is(FINISH(1), BAD_VERSION, "FWCMD-15: ID block version");
    id.version = 1;
    auth[0] = 2;
    is(FINISH(1), PARAM, "FWCMD-15: ID key algorithm");
    auth[0] = 1;
    id.policy ^= POLICY_DEBUG;
    is(FINISH(1), POLICY, "FWCMD-15: ID block with another policy");
    id.policy ^= POLICY_DEBUG;
    id.ld[0] ^= 1;
    is(FINISH(1), BAD_MEASUREMENT, "FWCMD-15: ID block with another digest");
    id.ld[0] ^= 1;
    is(FINISH(1), UNSUPPORTED,
       "FWCMD-15: right digest; its signature cannot be checked");
    is(FINISH(0), OK, "FWCMD-15: SNP_LAUNCH_FINISH");
    is(FINISH(0), GUEST_STATE, "FW-03: SNP_LAUNCH_FINISH twice");
    is(UPDATE(CTX, 1, G_OTHER), GUEST_STATE,
       "FW-03: SNP_LAUNCH_UPDATE of a running guest");
}

/* GUEST_COUNT of SNP_PLATFORM_STATUS */
static uint32_t guest_count(void)
{
    uint32_t count;

    if (COMMAND(SNP_PLATFORM_STATUS, FW)) {
        bail("SNP_PLATFORM_STATUS failed for", FW);
    }
    count = ((uint32_t *)FW)[3];
    reclaim(FW);
    make_firmware(FW);
    return count;
}

static void test_running(void)
{
    uint64_t *secrets = (uint64_t *)FW;
    unsigned i, nonzero = 0;

    is(guest_count(), 2, "FWCMD-05: two guests");
    is(COMMAND(SNP_DBG_DECRYPT, CTX, G_NORMAL, SCRATCH), PAGE_STATE,
       "FWCMD-19: destination is the hypervisor's");
    is(COMMAND(SNP_DBG_DECRYPT, CTX, SCRATCH, FW), PAGE_STATE,
       "FWCMD-19: source is the hypervisor's");
    make(SCRATCH, 0x9000, false, false, ASID2);
    is(COMMAND(SNP_DBG_DECRYPT, CTX, SCRATCH, FW), PAGE_OWNER,
       "FWCMD-19: source of another guest");
    make_shared(SCRATCH);
    is(COMMAND(SNP_DBG_DECRYPT, CTX, G_VMSA, FW), OK,
       "FWCMD-19: SNP_DBG_DECRYPT");
    is(((uint64_t *)FW)[511], 0x1111111111111111ull, "FWCMD-19: plaintext");
    is(COMMAND(SNP_DBG_DECRYPT, CTX, G_ZERO, FW), OK, "FWCMD-19: the ZERO page");
    for (i = 0; i < K4; i++) {
        nonzero += ((uint8_t *)FW)[i] != 0;
    }
    is(nonzero, 0, "FWCMD-13: ZERO is zero");
    is(COMMAND(SNP_DBG_DECRYPT, CTX, G_SECRETS, FW), OK,
       "FWCMD-19: the SECRETS page");
    is(secrets[0], 2, "FWCMD-13: version of the secrets page");
    is(secrets[4] != secrets[8] && secrets[4] != 0, 1,
       "FWCMD-13: VMPCK0 and VMPCK1 are keys");
    is(secrets[511], 0, "FWCMD-13: the rest of it is zero");
    is(COMMAND(SNP_GUEST_REQUEST, CTX, SCRATCH, SCRATCH), PAGE_STATE,
       "FWCMD-18: response page is the hypervisor's");
    is(COMMAND(SNP_GUEST_REQUEST, CTX, SCRATCH, FW), UNSUPPORTED,
       "FWCMD-18: guest messages are not modelled");
    is(command_at(SNP_GUEST_STATUS, 0), UNSUPPORTED, "FWCMD-23");

    /* the second guest's policy forbids debugging */
    is(COMMAND(SNP_LAUNCH_FINISH, CTX2), OK, "FWCMD-15: the second guest");
    is(COMMAND(SNP_DBG_DECRYPT, CTX2, SCRATCH, FW), POLICY,
       "FWCMD-19: policy without DEBUG");
}

static void test_decommission(void)
{
    unsigned i;

    is(COMMAND(SNP_SHUTDOWN_EX, PAIR(8, 1)), DFFLUSH_REQUIRED,
       "FWCMD-20: SNP_SHUTDOWN_EX with an active guest");
    is(COMMAND(SNP_DECOMMISSION, CTX), OK, "FWCMD-16: SNP_DECOMMISSION");
    is(*raw(CTX), 5, "FWCMD-16: Context is Firmware again");
    is(*raw(G_NORMAL), ENTRY(0x1000, ASID, 2), "FWCMD-16: guest pages stay");
    is(COMMAND(SNP_DECOMMISSION, CTX), NO_GUEST,
       "FW-04: SNP_DECOMMISSION twice");
    is(COMMAND(SNP_PAGE_RECLAIM, G_OTHER), OK, "FWCMD-17: a Pre-Guest page");
    is(*raw(G_OTHER), ENTRY(0x9000, ASID2, 0),
       "FWCMD-17: which becomes Guest-Invalid");
    is(COMMAND(SNP_PAGE_RECLAIM, G_OTHER), PAGE_STATE,
       "FWCMD-17: reclaim a Guest-Invalid page");
    make_shared(G_OTHER);

    COMMAND(SNP_GCTX_CREATE, CTX);
    COMMAND(SNP_LAUNCH_START, CTX, GOOD_POLICY);
    is(COMMAND(SNP_ACTIVATE, CTX, ASID), DFFLUSH_REQUIRED,
       "FWCMD-10: ASID reuse without a flush");
    is(command_at(SNP_DF_FLUSH, 0), WBINVD_REQUIRED,
       "FWCMD-16: SNP_DECOMMISSION asks for a WBINVD");
    wbinvd();
    is(command_at(SNP_DF_FLUSH, 0), OK, "FWCMD-07: and is content with one");
    is(COMMAND(SNP_ACTIVATE, CTX, ASID), CONFIG,
       "FWCMD-10: ASID reuse with pages left");
    for (i = 0; i < 7; i++) {
        make_shared(G_NORMAL + i * K4);
    }
    if (rmpupdate(BIG, 0, false, true, false, 0)) {
        bail("cannot free", BIG);
    }
    is(COMMAND(SNP_ACTIVATE, CTX, ASID), OK, "FWCMD-10: ASID reuse");
    is(COMMAND(SNP_DECOMMISSION, CTX), OK, "FWCMD-16: during launch");
    is(COMMAND(SNP_DECOMMISSION, CTX2), OK, "FWCMD-16: the second guest");
    is(guest_count(), 0, "FWCMD-16: no guest left");
    reclaim(CTX);
    reclaim(CTX2);
}

/* ---- legacy guests on an SNP platform ---- */

#define POLICY_SEV_ES   4u
#define POLICY_NODBG    1u

/* A legacy command whose buffer returns data */
static unsigned command_out(unsigned cmd, const void *in, unsigned len)
{
    unsigned status;

    memset((void *)CMDBUF, 0, 64);
    memcpy((void *)CMDBUF, in, len);
    make_firmware(CMDBUF);
    status = command_at(cmd, CMDBUF);
    reclaim(CMDBUF);
    return status;
}

#define COMMAND_OUT(cmd, ...) ({                                        \
    const uint64_t in[] = { __VA_ARGS__ };                              \
    command_out(cmd, in, sizeof(in));                                   \
})

static void test_legacy(void)
{
    uint32_t *out = (uint32_t *)CMDBUF;
    uint32_t es, sev;
    unsigned i;

    is(COMMAND(INIT, 1, TMR, 0x100000), LENGTH, "FWCMD-04: TMR of 1 MB");
    is(COMMAND(INIT, 1, TMR + 0x100000, 0x200000), ADDRESS,
       "FWCMD-04: TMR not 2 MB aligned");
    is(COMMAND(INIT, 1, TMR, 0x200000), PAGE_STATE,
       "FWCMD-04: TMR is the hypervisor's");
    for (i = 0; i < 512; i++) {
        make_firmware(TMR + i * K4);
    }
    is(COMMAND(INIT, 1, TMR, 0x200000), OK, "FWCMD-04: INIT");
    is(COMMAND(SNP_SHUTDOWN_EX, PAIR(8, 1)), PLATFORM_STATE,
       "FWCMD-20: SNP_SHUTDOWN_EX while the legacy platform is INIT");

    is(COMMAND(LAUNCH_START, PAIR(0, POLICY_SEV_ES)), PAGE_STATE,
       "FW-10: LAUNCH_START, command buffer the hypervisor's");
    is(COMMAND_OUT(LAUNCH_START, PAIR(0, 1 << 8)), POLICY,
       "legacy policy: reserved bit");
    is(COMMAND_OUT(LAUNCH_START, PAIR(0, 2 << 16)), POLICY,
       "legacy policy: API 2");
    is(COMMAND_OUT(LAUNCH_START, PAIR(1, 0)), UNSUPPORTED,
       "LAUNCH_START with a shared key is not modelled");
    is(COMMAND_OUT(LAUNCH_START, PAIR(0, POLICY_SEV_ES)), OK,
       "LAUNCH_START of a SEV-ES guest");
    es = out[0];
    is(COMMAND_OUT(LAUNCH_START, PAIR(0, POLICY_NODBG)), OK,
       "LAUNCH_START of a SEV guest");
    sev = out[0];
    is(es != sev && es && sev, 1, "handles differ");

    is(COMMAND(LAUNCH_UPDATE_DATA, es, G_NORMAL, K4), INACTIVE,
       "LAUNCH_UPDATE_DATA before ACTIVATE");
    is(COMMAND(ACTIVATE, PAIR(es, ASID)), DFFLUSH_REQUIRED,
       "FWCMD-24: ACTIVATE before DF_FLUSH");
    wbinvd();
    is(command_at(DF_FLUSH, 0), OK, "FWCMD-24: DF_FLUSH");
    is(COMMAND(ACTIVATE, PAIR(es, ASID)), DFFLUSH_REQUIRED,
       "FWCMD-24: DF_FLUSH does not free ASIDs of SNP guests");
    is(command_at(SNP_DF_FLUSH, 0), OK, "FWCMD-24: SNP_DF_FLUSH");
    is(COMMAND(ACTIVATE, PAIR(77, ASID)), NO_GUEST, "ACTIVATE, no such handle");
    is(COMMAND(ACTIVATE, PAIR(es, ASID_SEV)), BAD_ASID,
       "CPUID-02: SEV-ES guest, ASID of SEV guests");
    is(COMMAND(ACTIVATE, PAIR(sev, ASID)), BAD_ASID,
       "CPUID-02: SEV guest, ASID of SEV-ES guests");
    is(COMMAND(ACTIVATE, PAIR(es, ASID)), OK, "ACTIVATE");
    is(COMMAND(ACTIVATE, PAIR(es, ASID2)), ACTIVE, "ACTIVATE twice");
    is(COMMAND(ACTIVATE, PAIR(sev, ASID_SEV)), OK, "ACTIVATE of the SEV guest");

    is(COMMAND(LAUNCH_UPDATE_DATA, es, G_NORMAL, K4), PAGE_STATE,
       "FW-09: LAUNCH_UPDATE_DATA of a Hypervisor page");
    make_firmware(G_NORMAL);
    is(COMMAND(LAUNCH_UPDATE_DATA, es, G_NORMAL, 24), LENGTH,
       "LAUNCH_UPDATE_DATA, half a block");
    is(COMMAND(LAUNCH_UPDATE_DATA, es, G_NORMAL + 8, 16), ADDRESS,
       "LAUNCH_UPDATE_DATA, misaligned");
    is(COMMAND(LAUNCH_UPDATE_DATA, es, G_NORMAL + K4 - 16, 32), PAGE_STATE,
       "FW-09: LAUNCH_UPDATE_DATA across into a Hypervisor page");
    is(COMMAND(LAUNCH_UPDATE_DATA, es, G_NORMAL, K4), OK, "LAUNCH_UPDATE_DATA");
    is(COMMAND(LAUNCH_UPDATE_VMSA, sev, G_NORMAL, K4), POLICY,
       "LAUNCH_UPDATE_VMSA of a SEV guest");
    is(COMMAND(LAUNCH_UPDATE_VMSA, es, G_NORMAL, 16), LENGTH,
       "LAUNCH_UPDATE_VMSA of less than a page");
    is(COMMAND(LAUNCH_UPDATE_VMSA, es, G_NORMAL, K4), OK, "LAUNCH_UPDATE_VMSA");
    is(COMMAND(LAUNCH_FINISH, es), GUEST_STATE,
       "LAUNCH_FINISH before LAUNCH_MEASURE");
    is(COMMAND_OUT(LAUNCH_MEASURE, es, 0, 0), LENGTH, "LAUNCH_MEASURE query");
    is(out[4], 48, "LAUNCH_MEASURE says how much it needs");
    is(COMMAND_OUT(LAUNCH_MEASURE, es, SCRATCH, 48), PAGE_STATE,
       "FW-09: LAUNCH_MEASURE to a Hypervisor page");
    is(COMMAND_OUT(LAUNCH_MEASURE, es, FW, 256), OK, "LAUNCH_MEASURE");
    is(out[4], 48, "LAUNCH_MEASURE says how much it wrote");
    is(COMMAND_OUT(GUEST_STATUS, es), OK, "GUEST_STATUS");
    is(out[1] << 16 | out[2] << 8 | (out[3] & 0xff),
       POLICY_SEV_ES << 16 | ASID << 8 | 2, "policy, ASID, state LSECRET");
    is(COMMAND(LAUNCH_UPDATE_DATA, es, G_NORMAL, K4), GUEST_STATE,
       "LAUNCH_UPDATE_DATA after LAUNCH_MEASURE");
    is(COMMAND(LAUNCH_FINISH, es), OK, "LAUNCH_FINISH");

    fill(SCRATCH, 0x77);
    is(COMMAND(DBG_ENCRYPT, es, SCRATCH, G_PERMS, 32), PAGE_STATE,
       "FW-09: DBG_ENCRYPT to a Hypervisor page");
    is(COMMAND(DBG_ENCRYPT, es, SCRATCH, G_NORMAL, 24), LENGTH,
       "DBG_ENCRYPT, half a block");
    is(COMMAND(DBG_ENCRYPT, es, SCRATCH, G_NORMAL, 32), OK, "DBG_ENCRYPT");
    is(*(uint32_t *)G_NORMAL != 0x77777777, 1, "ENC-04: it wrote ciphertext");
    is(COMMAND(DBG_DECRYPT, es, G_NORMAL, FW, 32), OK, "DBG_DECRYPT");
    is(*(uint32_t *)FW, 0x77777777, "ENC-04: DBG_DECRYPT has the key");
    is(COMMAND(DBG_DECRYPT, sev, SCRATCH, G_NORMAL, 32), POLICY,
       "DBG_DECRYPT against the policy");
    is(command_at(SEND_START, 0), UNSUPPORTED, "SEND_START is not modelled");
    reclaim(G_NORMAL);

    is(COMMAND(DECOMMISSION, es), ACTIVE, "DECOMMISSION of an active guest");
    is(COMMAND(DEACTIVATE, es), OK, "DEACTIVATE");
    is(COMMAND(DEACTIVATE, es), INACTIVE, "DEACTIVATE twice");
    is(COMMAND(ACTIVATE, PAIR(es, ASID)), DFFLUSH_REQUIRED,
       "FWCMD-24: ASID reuse without a flush");
    is(command_at(SNP_DF_FLUSH, 0), WBINVD_REQUIRED,
       "FWCMD-24: DEACTIVATE asks for a WBINVD");
    wbinvd();
    is(command_at(SNP_DF_FLUSH, 0), OK,
       "FWCMD-24: SNP_DF_FLUSH frees ASIDs of legacy guests");
    is(COMMAND(ACTIVATE, PAIR(es, ASID)), OK, "FWCMD-24: ASID reuse");
    is(COMMAND(DEACTIVATE, es), OK, "DEACTIVATE again");
    is(COMMAND(DECOMMISSION, es), OK, "DECOMMISSION");
    is(COMMAND(DECOMMISSION, es), NO_GUEST, "DECOMMISSION twice");
    is(command_at(SHUTDOWN, 0), OK, "SHUTDOWN with a guest left");
    for (i = 0; i < 512; i++) {
        reclaim(TMR + i * K4);
    }
}

/* ---- DMA ---- */

static void iommu_command(uint64_t lo, uint64_t hi)
{
    uint32_t tail = mmio_read(IOMMU_BASE + 0x2008);

    mmio_write64(IOMMU_COMMANDS + tail, lo);
    mmio_write64(IOMMU_COMMANDS + tail + 8, hi);
    tail += 16;
    mmio_write(IOMMU_BASE + 0x2008, tail);
    while (mmio_read(IOMMU_BASE + 0x2000) != tail) {
    }
}

/* COMPLETION_WAIT: what is at @spa after it should have stored there */
static uint64_t completion_wait(uint64_t spa)
{
    static unsigned nr;

    iommu_command(spa | 1 | 1ull << 60, 0xfeed0000 + 16 * nr++);
    return mmio_read64(spa);
}

/* Bits 63:0 of the device's entry in the device table */
static void set_dte(uint64_t lo)
{
    const unsigned devfn = pci_find(PCI_EDU);

    mmio_write64(DEVTAB + devfn * 32, lo);
    iommu_command(devfn | 2ull << 60, 0);   /* INVALIDATE_DEVTAB_ENTRY */
}

static void test_completion(void)
{
    fill(SCRATCH, 0);
    is(completion_wait(STORE + 8), 0xfeed0000, "DMA-03: completion store");
    is(completion_wait(STORE + K4 - 8), 0xfeed0010, "DMA-03: at its end");
    is(completion_wait(SCRATCH), 0, "DMA-03: no completion store elsewhere");
}

static void test_dma(void)
{
    uint64_t *ram = (uint64_t *)SCRATCH;
    uint32_t tail = mmio_read(IOMMU_BASE + 0x2018);
    uint64_t *event = (uint64_t *)(EVENT_LOG + tail);

    fill(SCRATCH, 0x42);
    dma(false, SCRATCH);
    fill(SCRATCH, 0);
    dma(true, SCRATCH);
    is(ram[0], 0x4242424242424242ull, "DMA-01: Hypervisor pages, both ways");
    is(mmio_read(IOMMU_BASE + 0x2018), tail, "DMA-01: no event");

    fill(SCRATCH, 0x13);
    make_firmware(SCRATCH);
    dma(true, SCRATCH + 16);
    is(ram[2], 0x1313131313131313ull, "DMA-01: no write to a Firmware page");
    is(mmio_read(IOMMU_BASE + 0x2018), tail + 16, "DMA-01: one event");
    is(event[0] >> 60, 0xd, "DMA-01: RMP_PAGE_FAULT");
    is(event[0] >> 48 & 0x20, 0x20, "DMA-01: of a write");
    is(event[1], SCRATCH + 16, "DMA-01: at this address");
    is(mmio_read(IOMMU_BASE + 0x2020) & 2, 2, "DMA-01: event interrupt status");
    dma(false, SCRATCH);
    is(event[2] >> 48 & 0xf020, 0xd000, "DMA-01: RMP_PAGE_FAULT of a read");
    reclaim(SCRATCH);
    fill(SCRATCH, 0);
    dma(true, SCRATCH);
    is(ram[0] == 0x1313131313131313ull, 0,
       "DMA-01: the refused read read nothing");

    /* a page mapped by DMA, then given away: no stale translation */
    make(SCRATCH, 0x1000, false, false, ASID);
    dma(true, SCRATCH + 32);
    make_shared(SCRATCH);
    is(ram[4], 0, "DMA-01: no write to a page that became a guest's");
    is(mmio_read(IOMMU_BASE + 0x2018), tail + 48, "DMA-01: three events");

    /* valid, with translation, mode 0, read and write */
    set_dte(3ull << 61 | 3);
    dma(true, SCRATCH + 48);
    set_dte(0);
    is(ram[6], 0, "DMA-05: no write by a table entry of mode 0");
    is(event[6] >> 60, 1, "DMA-05: ILLEGAL_DEV_TABLE_ENTRY");
}

/* ---- the end ---- */

#define RAM_SIZE        (128ull << 20)  /* as bare_plain has it */

/* What the emulator has to tell of when SNP ends, in its words, for run-fw.sh */
static void tell_guest_pages(void)
{
    uint64_t spa, nr = 0, first = 0;

    for (spa = RAM_SIZE; spa; ) {
        spa -= K4;
        if ((*raw(spa) & 1) && (*raw(spa) >> 51 & 0x3ff)) {
            first = spa;
            nr++;
        }
    }
    print("# lost pages: ");
    print_number(nr, 10);
    print(" are assigned to guests that are gone, the first at 0x");
    print_number(first, 16);
    print("\n");
}

static void test_shutdown(bool x86)
{
    const uint64_t plain = 0x5a5a5a5a5a5a5a5a;
    uint32_t handle;

    /* A page that outlives its guest */
    make_firmware(CTX);
    is(COMMAND(SNP_GCTX_CREATE, CTX), OK, "SNP_GCTX_CREATE");
    is(COMMAND(SNP_LAUNCH_START, CTX, GOOD_POLICY), OK, "SNP_LAUNCH_START");
    is(COMMAND(SNP_ACTIVATE, CTX, ASID_LAST), OK, "SNP_ACTIVATE");
    fill(G_PERMS, 0x5a);
    make(G_PERMS, 0x3000, false, true, ASID_LAST);
    is(UPDATE(CTX, 1, G_PERMS), OK, "SNP_LAUNCH_UPDATE");
    is(COMMAND(SNP_DECOMMISSION, CTX), OK, "SNP_DECOMMISSION");
    reclaim(CTX);

    is(COMMAND(SNP_SHUTDOWN_EX, PAIR(4, 1)), LENGTH,
       "FW-07: SNP_SHUTDOWN_EX with a wrong length");
    is(COMMAND(SNP_SHUTDOWN_EX, PAIR(8, 5)), PARAM,
       "FW-06: SNP_SHUTDOWN_EX, reserved flag");
    is(COMMAND(SNP_SHUTDOWN_EX, PAIR(8, 2)), PARAM,
       "FWCMD-20: X86_SNP_SHUTDOWN not offered, or without the IOMMU's");
    is(COMMAND(SNP_SHUTDOWN_EX, PAIR(8, x86 ? 3 : 1)), DFFLUSH_REQUIRED,
       "FWCMD-20: retired ASIDs not flushed");
    wbinvd();
    is(command_at(SNP_DF_FLUSH, 0), OK, "FWCMD-20: SNP_DF_FLUSH");
    make(G_NORMAL, 0x1000, false, false, ASID);
    make(G_OTHER, 0x2000, false, false, ASID2);
    tell_guest_pages();
    is(COMMAND(SNP_SHUTDOWN_EX, PAIR(8, x86 ? 3 : 1)), OK,
       "FWCMD-20: SNP_SHUTDOWN_EX");
    is(COMMAND(SNP_SHUTDOWN_EX, PAIR(8, 1)), PLATFORM_STATE,
       "FWCMD-20: SNP_SHUTDOWN_EX twice");
    if (!x86) {
        /* The table is still in force */
        is(COMMAND(INIT, 1, TMR, 0x100000), OK, "INIT after SNP_SHUTDOWN_EX");
        is(COMMAND(LAUNCH_START, PAIR(0, 0)), OK, "LAUNCH_START");
        handle = words[0];
        wbinvd();
        is(command_at(DF_FLUSH, 0), OK, "DF_FLUSH");
        is(COMMAND(ACTIVATE, PAIR(handle, ASID_SEV)), OK, "ACTIVATE");
        is(COMMAND(DBG_ENCRYPT, PAIR(handle, 0), G_NORMAL, SCRATCH, 16),
           ADDRESS, "FW-11: DBG_ENCRYPT does not read a page of a guest's");
        is(COMMAND(DBG_DECRYPT, PAIR(handle, 0), SCRATCH, G_NORMAL, 16),
           PAGE_STATE, "FW-09: nor does DBG_DECRYPT write one");
        is(COMMAND(SNP_PLATFORM_STATUS, (uint64_t)raw(SCRATCH)), PAGE_STATE,
           "FW-09: nor does SNP_PLATFORM_STATUS write the RMP");
        is(command_at(SHUTDOWN, 0), OK, "SHUTDOWN");
    }
    is(*(uint64_t *)G_PERMS == plain, 0,
       "ENC-01: what the guest has left is ciphertext");
    is(*raw(EVENT_LOG), 1, "FWCMD-20: event log is Reclaim");
    is(*raw(STORE), 1, "FWCMD-20: completion store is Reclaim");
    is(*raw(HV_FIXED), 4, "FWCMD-20: other pages stay as they are");
    is(rdmsr(MSR_SYSCFG) & SYSCFG_SNP_EN, x86 ? 0 : SYSCFG_SNP_EN,
       "SYSCFG-09: SNP_EN");
    mmio_write64(IOMMU_BASE + 0x20, SCRATCH);
    is(mmio_read64(IOMMU_BASE + 0x20), SCRATCH,
       "FWCMD-20: IOMMU registers are unlocked");
    mmio_write64(IOMMU_BASE + 0x20, STORE);

    if (x86) {
        /* Linux clears the table and starts over */
        memset((void *)rdmsr(MSR_RMP_BASE), 0, 0x100000);
        is(COMMAND(SNP_INIT_EX, 0), RMP_INIT_REQUIRED,
           "FWCMD-20: the RMP counts as uninitialized");
        wrmsr(MSR_SYSCFG, rdmsr(MSR_SYSCFG) | SYSCFG_SNP_EN | SYSCFG_VMPL_EN);
    } else {
        make_shared(EVENT_LOG);
        make_shared(STORE);
        make_shared(G_NORMAL);
        make_shared(G_OTHER);
        make_shared(G_PERMS);
    }
    is(COMMAND(SNP_INIT_EX, 3, (uint64_t)&ranges), OK,
       "FWCMD-01: SNP_INIT_EX after SNP_SHUTDOWN_EX");
    is(*(uint64_t *)G_PERMS == plain, 0, "ENC-01: as before");
    is(*raw(EVENT_LOG), 5, "DMA-03: event log is Firmware again");
}

/* ---- a hypervisor that knows no rules ---- */

#define RANDOM_COMMANDS 30000

static uint64_t random64(void)
{
    static uint64_t x = 0x9e3779b97f4a7c15ull;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

/* Something that a command may take for an address, a handle, flags, a length */
static uint64_t random_word(void)
{
    uint64_t page = AREA + (random64() % 40) * K4;

    switch (random64() % 12) {
    case 0:
        return 0;
    case 1:
        return random64() % 8;
    case 2:
        return PAIR(random64() % 8, random64() % 128);
    case 3:
        return PAIR(8, random64() % 4);
    case 4:
        return random64();
    case 5:
        return NOWHERE;
    case 6:
        return ~0ull - random64() % K4;
    case 7:
        return page + random64() % K4;
    case 8:
        return AREA + (random64() % AREA_REGIONS) * M2 + random64() % 2;
    default:
        return page;
    }
}

/* Every page it may lose is in AREA; the image and its stack are not */
static void random_rmpupdate(void)
{
    unsigned kind = random64() % 6;

    if (!(rdmsr(MSR_SYSCFG) & SYSCFG_SNP_EN)) {
        wrmsr(MSR_SYSCFG, rdmsr(MSR_SYSCFG) | SYSCFG_SNP_EN | SYSCFG_VMPL_EN);
    }
    rmpupdate(AREA + (random64() % 40) * K4,
              kind > 2 ? random64() % 64 * K4 : 0, kind > 0, false,
              kind & 1, kind > 2 ? random64() % 4 : 0);
}

static void test_random(void)
{
    unsigned i, j, by_status[0x40] = { 0 }, kinds = 0;

    for (i = 0; i < RANDOM_COMMANDS; i++) {
        unsigned status;

        for (j = 0; j < 8; j++) {
            words[j] = random_word();
        }
        status = command_at(random64() % 0xd8, (uint64_t)words);
        if (status >= 0x40) {
            bail("status out of range", status);
        }
        by_status[status]++;
        random_rmpupdate();
        if (random64() % 4 == 0) {
            wbinvd();
        }
    }
    for (i = 0; i < 0x40; i++) {
        kinds += by_status[i] != 0;
    }
    is(kinds > 12, 1, "random commands: an answer to each, of many kinds");
}

int main(void);
int main(void)
{
    bool x86;

    machine_init();
    test_mailbox();
    x86 = test_uninit();
    test_legacy_before_snp();
    test_init_config();
    test_init();
    test_pages();
    test_config();
    test_launch_start();
    test_activate();
    test_launch_update();
    test_launch_finish();
    test_running();
    test_decommission();
    test_legacy();
    test_completion();
    test_dma();
    test_shutdown(x86);
    test_random();
    done();
}
