/*
 * SEV-SNP firmware: SNP guests.
 *
 * A guest is known by its context page.  The page itself carries the RMP state
 * and what stands for the encrypted context, i.e. random bytes; the context
 * lives in SnpFw.snp_guests, where no write of the hypervisor reaches it.
 *
 * Memory holds plaintext under its owner's key (ENC-01: APM2 15.34), so
 * "encrypt in place" leaves the contents as they are.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/guest-random.h"
#include "system/address-spaces.h"
#include "system/memory.h"
#include "hw/boards.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/log.h"
#include "target/i386/snp/snp_host.h"
#include "snp_fw.h"
#include "trace.h"

/* Guest policy */
#define SNP_POLICY_ABI_MINOR(p)     extract64(p, 0, 8)
#define SNP_POLICY_ABI_MAJOR(p)     extract64(p, 8, 8)
#define SNP_POLICY_SMT              (1ull << 16)
#define SNP_POLICY_ONE              (1ull << 17)
#define SNP_POLICY_MIGRATE_MA       (1ull << 18)
#define SNP_POLICY_DEBUG            (1ull << 19)
#define SNP_POLICY_SINGLE_SOCKET    (1ull << 20)
#define SNP_POLICY_CXL_ALLOW        (1ull << 21)
#define SNP_POLICY_AES_256_XTS      (1ull << 22)
#define SNP_POLICY_RAPL_DIS         (1ull << 23)
#define SNP_POLICY_CIPHERTEXT       (1ull << 24)
#define SNP_POLICY_NO_PAGE_SWAP     (1ull << 25)
#define SNP_POLICY_RESERVED         (~0ull << 26)

/* What this platform is not, or does not do */
#define SNP_POLICY_ABSENT \
    (SNP_POLICY_AES_256_XTS | SNP_POLICY_RAPL_DIS | SNP_POLICY_CIPHERTEXT)

typedef struct SnpGctx {
    uint64_t gctx_paddr;
} QEMU_PACKED SnpGctx;

/*
 * FW-04 (strict choice): a context page that is one, to the firmware and to the
 * RMP
 */
static SnpGuest *snp_fw_guest(SnpFw *fw, uint64_t paddr, SevStatus *status)
{
    uint64_t spa = snp_fw_spa(le64_to_cpu(paddr));
    SnpGuest *guest;

    if ((spa & (RMP_PAGE_4K - 1)) || !snp_fw_is_ram(spa, RMP_PAGE_4K)) {
        *status = snp_fw_refuse(fw, SEV_INVALID_ADDRESS,
                                "FW-05: context page address");
        return NULL;
    }
    guest = g_hash_table_lookup(fw->snp_guests, &spa);
    if (!guest || snp_fw_page_in_state(fw, spa, RMP_PAGE_CONTEXT)) {
        *status = snp_fw_refuse(fw, SEV_INVALID_GUEST,
                                "FW-04: not a context page");
        return NULL;
    }
    *status = SEV_SUCCESS;
    return guest;
}

/* FW-03 (ABI, guest states) */
static SnpGuest *snp_fw_guest_in_state(SnpFw *fw, uint64_t paddr,
                                       SnpGuestState state, SevStatus *status)
{
    SnpGuest *guest = snp_fw_guest(fw, paddr, status);

    if (guest && guest->state != state) {
        *status = snp_fw_refuse(fw, SEV_INVALID_GUEST_STATE,
                                "FW-03: guest state");
        return NULL;
    }
    return guest;
}

/*
 * FWPAGE-06 (ABI, page states): the context is written back encrypted, and
 * nobody can read it
 */
static void snp_fw_save_context(SnpFw *fw, const SnpGuest *guest)
{
    g_autofree void *page = g_malloc(RMP_PAGE_4K);

    qemu_guest_getrandom_nofail(page, RMP_PAGE_4K);
    snp_fw_write(fw, guest->gctx, page, RMP_PAGE_4K);
}

/* ---- SNP_GCTX_CREATE, SNP_DECOMMISSION ---- */

/* FWCMD-08 (ABI SNP_GCTX_CREATE) */
static SevStatus snp_fw_gctx_create(SnpFw *fw, void *buf)
{
    SnpGctx *in = buf;
    uint64_t spa = snp_fw_spa(le64_to_cpu(in->gctx_paddr));
    SnpGuest *guest;
    SevStatus status;

    if ((spa & (RMP_PAGE_4K - 1)) || !snp_fw_is_ram(spa, RMP_PAGE_4K)) {
        return snp_fw_refuse(fw, SEV_INVALID_ADDRESS,
                             "FW-05: context page address");
    }
    status = snp_fw_page_in_state(fw, spa, RMP_PAGE_FIRMWARE);
    if (status) {
        return status;
    }

    guest = g_new0(SnpGuest, 1);
    guest->gctx = spa;
    guest->state = SNP_GUEST_INIT;
    if (qemu_guest_getrandom(guest->vmpck, sizeof(guest->vmpck), NULL)) {
        g_free(guest);
        return snp_fw_refuse(fw, SEV_RESOURCE_LIMIT, "no random numbers");
    }
    rmp_fw_move(snp_host_rmp(fw->host), spa, RMP_PAGE_FIRMWARE,
                RMP_PAGE_CONTEXT);
    /* a page in Firmware state can have no context left; replace to be sure */
    g_hash_table_replace(fw->snp_guests, &guest->gctx, guest);
    snp_fw_save_context(fw, guest);
    return SEV_SUCCESS;
}

/* FWCMD-16 (ABI SNP_DECOMMISSION) */
static SevStatus snp_fw_decommission(SnpFw *fw, void *buf)
{
    SnpGctx *in = buf;
    SevStatus status;
    SnpGuest *guest = snp_fw_guest(fw, in->gctx_paddr, &status);

    if (!guest) {
        return status;
    }
    snp_fw_retire_asid(fw, guest->asid);
    rmp_fw_move(snp_host_rmp(fw->host), guest->gctx, RMP_PAGE_CONTEXT,
                RMP_PAGE_FIRMWARE);
    g_hash_table_remove(fw->snp_guests, &guest->gctx);
    return SEV_SUCCESS;
}

/* ---- SNP_LAUNCH_START, SNP_ACTIVATE ---- */

typedef struct SnpLaunchStart {
    uint64_t gctx_paddr;
    uint64_t policy;
    uint64_t ma_gctx_paddr;
    uint32_t flags;
    uint32_t desired_tsc_khz;
    uint8_t gosvw[16];
} QEMU_PACKED SnpLaunchStart;

#define SNP_LAUNCH_MA_EN        (1u << 0)
#define SNP_LAUNCH_IMI_EN       (1u << 1)

/*
 * FWCMD-09 (ABI SNP_LAUNCH_START); NULL if this platform satisfies the policy
 */
static const char *snp_fw_policy_refused(uint64_t policy)
{
    if (!(policy & SNP_POLICY_ONE)) {
        return "FWCMD-09: policy bit 17 is clear";
    }
    if (policy & SNP_POLICY_RESERVED) {
        return "FWCMD-09: policy has a reserved bit";
    }
    if (policy & SNP_POLICY_ABSENT) {
        return "FWCMD-09: policy asks for a feature that is not offered";
    }
    if (!(policy & SNP_POLICY_SMT) && current_machine->smp.threads > 1) {
        return "FWCMD-09: policy forbids SMT, which is on";
    }
    if (SNP_POLICY_ABI_MAJOR(policy) > SEV_API_MAJOR ||
        (SNP_POLICY_ABI_MAJOR(policy) == SEV_API_MAJOR &&
         SNP_POLICY_ABI_MINOR(policy) > SEV_API_MINOR)) {
        return "FWCMD-09: policy asks for newer firmware";
    }
    return NULL;
}

static SevStatus snp_fw_launch_start(SnpFw *fw, void *buf)
{
    SnpLaunchStart *in = buf;
    uint64_t policy = le64_to_cpu(in->policy);
    uint32_t flags = le32_to_cpu(in->flags);
    const char *why;
    SevStatus status;
    SnpGuest *guest = snp_fw_guest_in_state(fw, in->gctx_paddr,
                                            SNP_GUEST_INIT, &status);

    if (!guest) {
        return status;
    }
    if (flags & ~(SNP_LAUNCH_MA_EN | SNP_LAUNCH_IMI_EN)) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM, "FW-06: reserved field");
    }
    why = snp_fw_policy_refused(policy);
    if (why) {
        return snp_fw_refuse(fw, SEV_POLICY_FAILURE, why);
    }
    if ((flags & SNP_LAUNCH_MA_EN) && !(policy & SNP_POLICY_MIGRATE_MA)) {
        return snp_fw_refuse(fw, SEV_POLICY_FAILURE,
                             "FWCMD-09: policy forbids a migration agent");
    }
    if (flags) {
        qemu_log_mask(LOG_UNIMP, "amd-psp: migration agents and images are "
                      "not modelled\n");
        return snp_fw_refuse(fw, SEV_UNSUPPORTED, "FWCMD-09: migration");
    }

    guest->policy = policy;
    memcpy(guest->gosvw, in->gosvw, sizeof(guest->gosvw));
    memset(guest->ld, 0, sizeof(guest->ld));
    guest->state = SNP_GUEST_LAUNCH;
    snp_fw_save_context(fw, guest);
    return SEV_SUCCESS;
}

typedef struct SnpActivate {
    uint64_t gctx_paddr;
    uint32_t asid;
} QEMU_PACKED SnpActivate;

/* FWCMD-10 (ABI SNP_ACTIVATE) */
static SevStatus snp_fw_activate(SnpFw *fw, void *buf)
{
    SnpActivate *in = buf;
    uint32_t asid = le32_to_cpu(in->asid);
    SevStatus status;
    SnpGuest *guest = snp_fw_guest(fw, in->gctx_paddr, &status);

    if (!guest) {
        return status;
    }
    if (guest->state == SNP_GUEST_INIT) {
        return snp_fw_refuse(fw, SEV_INVALID_GUEST_STATE,
                             "FW-03: guest not launched");
    }
    if (guest->asid) {
        return snp_fw_refuse(fw, SEV_ACTIVE, "FWCMD-10: guest is active");
    }
    if ((guest->policy & SNP_POLICY_SINGLE_SOCKET) &&
        current_machine->smp.sockets > 1) {
        return snp_fw_refuse(fw, SEV_POLICY_FAILURE,
                             "FWCMD-10: policy wants a single socket");
    }
    status = snp_fw_bind_asid(fw, asid, SNP_ASID_SNP);
    if (status == SEV_SUCCESS) {
        guest->asid = asid;
        /*
         * ENC-01 (APM2 15.34): a new key for whatever is left in memory; of
         * pages that X86_SNP_SHUTDOWN tagged that is plaintext
         */
        snp_host_drop_key(fw->host, asid);
        snp_host_new_key(fw->host, asid, false);
        snp_fw_save_context(fw, guest);
    }
    return status;
}

/* ---- SNP_LAUNCH_UPDATE ---- */

typedef struct SnpLaunchUpdate {
    uint64_t gctx_paddr;
    uint32_t flags;
    uint32_t reserved2;
    uint64_t page_paddr;
    uint8_t reserved3;
    uint8_t vmpl_perms[3];      /* VMPL1, 2, 3 */
    uint32_t reserved4;
} QEMU_PACKED SnpLaunchUpdate;

#define SNP_UPDATE_2M           (1u << 0)
#define SNP_UPDATE_TYPE(flags)  extract32(flags, 1, 3)
#define SNP_UPDATE_IMI          (1u << 4)
#define SNP_UPDATE_FLAGS        0x1fu

enum {
    SNP_PAGE_NORMAL             = 1,
    SNP_PAGE_VMSA               = 2,
    SNP_PAGE_ZERO               = 3,
    SNP_PAGE_UNMEASURED         = 4,
    SNP_PAGE_SECRETS            = 5,
    SNP_PAGE_CPUID              = 6,
};

/* What the launch digest takes in for one 4 KB page */
typedef struct SnpLaunchPageInfo {
    uint8_t digest_cur[SNP_LD_SIZE];
    uint8_t contents[SNP_LD_SIZE];
    uint16_t length;
    uint8_t page_type;
    uint8_t imi_page;
    uint8_t vmpl_perms[3];      /* VMPL3, 2, 1 */
    uint8_t reserved;
    uint64_t gpa;
} QEMU_PACKED SnpLaunchPageInfo;

QEMU_BUILD_BUG_ON(sizeof(SnpLaunchPageInfo) != 0x70);

/* What the firmware puts into a page of type SECRETS */
typedef struct SnpSecrets {
    uint32_t version;
    uint32_t imi_en;
    uint32_t fms;
    uint32_t reserved;
    uint8_t gosvw[16];
    uint8_t vmpck[SNP_NR_VMPCK][SNP_VMPCK_SIZE];
} QEMU_PACKED SnpSecrets;

#define SNP_SECRETS_VERSION     2

#define SNP_CPUID_MAX           64

typedef struct SnpCpuidFunction {
    uint32_t eax_in, ecx_in;
    uint64_t xcr0_in, xss_in;
    uint32_t reg[4];                /* EAX, EBX, ECX, EDX */
    uint64_t reserved;
} QEMU_PACKED SnpCpuidFunction;

typedef struct SnpCpuidPage {
    uint32_t count;
    uint32_t reserved1;
    uint64_t reserved2;
    SnpCpuidFunction function[SNP_CPUID_MAX];
} QEMU_PACKED SnpCpuidPage;

static bool snp_fw_sha384(const void *data, size_t len, uint8_t *digest)
{
    size_t digest_len = SNP_LD_SIZE;

    return qcrypto_hash_bytes(QCRYPTO_HASH_ALGO_SHA384, data, len, &digest,
                              &digest_len, NULL) == 0;
}

/*
 * Add one 4 KB page to @ld.  A page of 2 MB counts as its 512 parts.  Only
 * NORMAL and VMSA pages are measured by contents.
 */
static bool snp_fw_measure(uint8_t *ld, unsigned type, uint64_t spa,
                           uint64_t gpa, const uint8_t perms[3])
{
    g_autofree void *page = g_malloc(RMP_PAGE_4K);
    SnpLaunchPageInfo info = {
        .length = cpu_to_le16(sizeof(info)),
        .page_type = type,
        .vmpl_perms = { perms[2], perms[1], perms[0] },
        .gpa = cpu_to_le64(gpa),
    };

    memcpy(info.digest_cur, ld, sizeof(info.digest_cur));
    if (type == SNP_PAGE_NORMAL || type == SNP_PAGE_VMSA) {
        address_space_read(&address_space_memory, spa, MEMTXATTRS_UNSPECIFIED,
                           page, RMP_PAGE_4K);
        if (!snp_fw_sha384(page, RMP_PAGE_4K, info.contents)) {
            return false;
        }
    }
    return snp_fw_sha384(&info, sizeof(info), ld);
}

/*
 * FWCMD-13 (ABI SNP_LAUNCH_UPDATE): the page holds the secrets and nothing of
 * what was there
 */
static void snp_fw_write_secrets(SnpFw *fw, const SnpGuest *guest,
                                 uint64_t spa)
{
    g_autofree uint8_t *page = g_malloc0(RMP_PAGE_4K);
    SnpSecrets *s = (SnpSecrets *)page;

    s->version = cpu_to_le32(SNP_SECRETS_VERSION);
    memcpy(s->gosvw, guest->gosvw, sizeof(s->gosvw));
    memcpy(s->vmpck, guest->vmpck, sizeof(s->vmpck));
    snp_fw_write(fw, spa, page, RMP_PAGE_4K);
}

/* Take out of @f what the processor lacks.  False if there was something. */
static bool snp_fw_correct_cpuid(SnpCpuidFunction *f)
{
    bool right = true;

    for (unsigned i = 0; i < ARRAY_SIZE(f->reg); i++) {
        uint32_t allowed = snp_host_cpuid(le32_to_cpu(f->eax_in),
                                          le32_to_cpu(f->ecx_in), i);

        right &= !(le32_to_cpu(f->reg[i]) & ~allowed);
        f->reg[i] &= cpu_to_le32(allowed);
    }
    return right;
}

/*
 * FWCMD-13 (ABI SNP_LAUNCH_UPDATE): a CPUID page must tell of nothing that the
 * processor lacks.  If it does, it gets the values that would be taken, and
 * stays the hypervisor's to read.  Which functions that is about is a strict
 * choice.
 */
static SevStatus snp_fw_check_cpuid(SnpFw *fw, uint64_t spa)
{
    SnpCpuidPage page;
    bool right = true;

    address_space_read(&address_space_memory, spa, MEMTXATTRS_UNSPECIFIED,
                       &page, sizeof(page));
    if (le32_to_cpu(page.count) > SNP_CPUID_MAX || page.reserved1 ||
        page.reserved2) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM, "FWCMD-13: CPUID page");
    }
    for (unsigned i = 0; i < le32_to_cpu(page.count); i++) {
        if (page.function[i].reserved) {
            return snp_fw_refuse(fw, SEV_INVALID_PARAM,
                                 "FWCMD-13: reserved field of a CPUID page");
        }
        right &= snp_fw_correct_cpuid(&page.function[i]);
    }
    if (!right) {
        snp_fw_write(fw, spa, &page, sizeof(page));
        return snp_fw_refuse(fw, SEV_INVALID_PARAM,
                             "FWCMD-13: CPUID of another processor");
    }
    return SEV_SUCCESS;
}

/* FWCMD-11..14 (ABI SNP_LAUNCH_UPDATE) */
static SevStatus snp_fw_launch_update(SnpFw *fw, void *buf)
{
    SnpLaunchUpdate *in = buf;
    uint32_t flags = le32_to_cpu(in->flags);
    uint64_t spa = snp_fw_spa(le64_to_cpu(in->page_paddr));
    unsigned type = SNP_UPDATE_TYPE(flags);
    bool size_2m = flags & SNP_UPDATE_2M;
    uint64_t size = size_2m ? RMP_PAGE_2M : RMP_PAGE_4K;
    Rmp *rmp = snp_host_rmp(fw->host);
    uint8_t ld[SNP_LD_SIZE];
    RmpState entry;
    SevStatus status;
    uint64_t off;
    bool rmp_2m;
    SnpGuest *guest = snp_fw_guest_in_state(fw, in->gctx_paddr,
                                            SNP_GUEST_LAUNCH, &status);

    if (!guest) {
        return status;
    }
    if (!guest->asid) {
        return snp_fw_refuse(fw, SEV_INACTIVE, "FWCMD-11: guest not active");
    }
    if ((flags & ~SNP_UPDATE_FLAGS) || in->reserved2 || in->reserved3 ||
        in->reserved4) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM, "FW-06: reserved field");
    }
    if (type < SNP_PAGE_NORMAL || type > SNP_PAGE_CPUID) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM, "FWCMD-11: page type");
    }
    if ((in->vmpl_perms[0] | in->vmpl_perms[1] | in->vmpl_perms[2]) &
        ~RMP_PERM_LAUNCH) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM, "FWCMD-11: permissions");
    }
    if (flags & SNP_UPDATE_IMI) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM,
                             "FWCMD-11: guest launched without IMI");
    }
    if (size_2m && type != SNP_PAGE_NORMAL && type != SNP_PAGE_ZERO &&
        type != SNP_PAGE_UNMEASURED) {
        return snp_fw_refuse(fw, SEV_INVALID_PAGE_SIZE,
                             "FWCMD-12: page type is 4 KB only");
    }
    if ((spa & (size - 1)) || !snp_fw_is_ram(spa, size)) {
        return snp_fw_refuse(fw, SEV_INVALID_ADDRESS, "FW-05: address");
    }
    /* before the contents count, so that nothing else is read or changed */
    if (rmp_page_state(rmp, spa, &rmp_2m) != RMP_PAGE_PRE_GUEST ||
        rmp_read(rmp, spa, &entry) != RMP_OK) {
        return snp_fw_refuse(fw, SEV_INVALID_PAGE_STATE,
                             "FWCMD-11: not a Pre-Guest page");
    }
    if (entry.asid != guest->asid) {
        return snp_fw_refuse(fw, SEV_INVALID_PAGE_OWNER,
                             "FWCMD-11: page of another guest");
    }
    if (rmp_2m != size_2m) {
        return snp_fw_refuse(fw, SEV_INVALID_PAGE_SIZE,
                             "FWCMD-11: size differs from the RMP's");
    }
    /* What a SEV guest left there is ciphertext (ENC-04: APM2 15.34) */
    for (off = 0; off < size; off += RMP_PAGE_4K) {
        snp_host_take_page(fw->host, spa + off, 0);
    }
    if (type == SNP_PAGE_CPUID) {
        status = snp_fw_check_cpuid(fw, spa);
        if (status) {
            return status;
        }
    }

    memcpy(ld, guest->ld, sizeof(ld));
    for (off = 0; off < size; off += RMP_PAGE_4K) {
        if (!snp_fw_measure(ld, type, spa + off, entry.gpa + off,
                            in->vmpl_perms)) {
            return snp_fw_refuse(fw, SEV_RESOURCE_LIMIT, "no SHA-384");
        }
    }

    if (rmp_fw_launch_update(rmp, spa, guest->asid, size_2m,
                             type == SNP_PAGE_VMSA, in->vmpl_perms)) {
        return snp_fw_refuse(fw, SEV_INVALID_PAGE_STATE,
                             "FWCMD-11: not a Pre-Guest page");
    }

    memcpy(guest->ld, ld, sizeof(ld));
    snp_fw_save_context(fw, guest);
    /* The hypervisor's translations lead to plaintext */
    snp_host_flush_tlbs(fw->host, spa, size);
    if (type == SNP_PAGE_ZERO) {
        g_autofree void *zero = g_malloc0(size);

        snp_fw_write(fw, spa, zero, size);
    } else if (type == SNP_PAGE_SECRETS) {
        snp_fw_write_secrets(fw, guest, spa);
    }
    trace_snp_fw_launch_update(guest->asid, entry.gpa, type, spa);
    return SEV_SUCCESS;
}

/* ---- SNP_LAUNCH_FINISH ---- */

typedef struct SnpLaunchFinish {
    uint64_t gctx_paddr;
    uint64_t id_block_paddr;
    uint64_t id_auth_paddr;
    uint64_t flags;
    uint8_t host_data[32];
} QEMU_PACKED SnpLaunchFinish;

#define SNP_FINISH_ID_BLOCK     (1u << 0)
#define SNP_FINISH_AUTH_KEY     (1u << 1)
#define SNP_FINISH_NO_VCEK      (1u << 2)
#define SNP_FINISH_FLAGS        0x7ull

typedef struct SnpIdBlock {
    uint8_t ld[SNP_LD_SIZE];
    uint8_t family_id[16];
    uint8_t image_id[16];
    uint32_t version;
    uint32_t guest_svn;
    uint64_t policy;
} QEMU_PACKED SnpIdBlock;

#define SNP_ID_BLOCK_VERSION    1

/* The head of the ID authentication structure: the algorithms of its keys */
typedef struct SnpIdAuth {
    uint32_t id_key_algo;
    uint32_t auth_key_algo;
} QEMU_PACKED SnpIdAuth;

#define SNP_KEY_ECDSA_P384      1

/*
 * FWCMD-15 (ABI SNP_LAUNCH_FINISH).  Everything but the ECDSA signatures is
 * checked; as those cannot be, a guest with an ID block is not finished at all
 * rather than on trust.
 */
static SevStatus snp_fw_check_id(SnpFw *fw, const SnpGuest *guest,
                                 const SnpLaunchFinish *in,
                                 uint64_t flags)
{
    SnpIdBlock id;
    SnpIdAuth auth;
    SevStatus status;

    status = snp_fw_read(fw, snp_fw_spa(le64_to_cpu(in->id_block_paddr)),
                         &id, sizeof(id));
    if (status == SEV_SUCCESS) {
        status = snp_fw_read(fw, snp_fw_spa(le64_to_cpu(in->id_auth_paddr)),
                             &auth, sizeof(auth));
    }
    if (status) {
        return status;
    }
    if (le32_to_cpu(id.version) != SNP_ID_BLOCK_VERSION) {
        return snp_fw_refuse(fw, SEV_BAD_VERSION,
                             "FWCMD-15: ID block version");
    }
    if (le32_to_cpu(auth.id_key_algo) != SNP_KEY_ECDSA_P384 ||
        ((flags & SNP_FINISH_AUTH_KEY) &&
         le32_to_cpu(auth.auth_key_algo) != SNP_KEY_ECDSA_P384)) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM,
                             "FWCMD-15: key algorithm");
    }
    if (le64_to_cpu(id.policy) != guest->policy) {
        return snp_fw_refuse(fw, SEV_POLICY_FAILURE,
                             "FWCMD-15: ID block's policy differs");
    }
    if (memcmp(id.ld, guest->ld, sizeof(id.ld))) {
        return snp_fw_refuse(fw, SEV_BAD_MEASUREMENT,
                             "FWCMD-15: ID block's digest differs");
    }
    qemu_log_mask(LOG_UNIMP, "amd-psp: ID block signatures are not modelled\n");
    return snp_fw_refuse(fw, SEV_UNSUPPORTED,
                         "FWCMD-15: ID block signature cannot be checked");
}

static SevStatus snp_fw_launch_finish(SnpFw *fw, void *buf)
{
    SnpLaunchFinish *in = buf;
    uint64_t flags = le64_to_cpu(in->flags);
    SevStatus status;
    SnpGuest *guest = snp_fw_guest_in_state(fw, in->gctx_paddr,
                                            SNP_GUEST_LAUNCH, &status);

    if (!guest) {
        return status;
    }
    if ((flags & ~SNP_FINISH_FLAGS) ||
        ((flags & SNP_FINISH_AUTH_KEY) && !(flags & SNP_FINISH_ID_BLOCK))) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM, "FW-06: reserved field");
    }
    if (flags & SNP_FINISH_ID_BLOCK) {
        status = snp_fw_check_id(fw, guest, in, flags);
        if (status) {
            return status;
        }
    }
    guest->vcek_disabled = flags & SNP_FINISH_NO_VCEK;
    memcpy(guest->host_data, in->host_data, sizeof(guest->host_data));
    guest->state = SNP_GUEST_RUNNING;
    snp_fw_save_context(fw, guest);

    if (trace_event_get_state_backends(TRACE_SNP_FW_LAUNCH_DIGEST)) {
        g_autoptr(GString) hex = g_string_new(NULL);
        unsigned i;

        for (i = 0; i < sizeof(guest->ld); i++) {
            g_string_append_printf(hex, "%02x", guest->ld[i]);
        }
        trace_snp_fw_launch_digest(guest->asid, hex->str);
    }
    return SEV_SUCCESS;
}

/* ---- SNP_GUEST_REQUEST, SNP_DBG_DECRYPT ---- */

typedef struct SnpGuestRequest {
    uint64_t gctx_paddr;
    uint64_t req_paddr;
    uint64_t res_paddr;
} QEMU_PACKED SnpGuestRequest;

/*
 * FWCMD-18 (ABI SNP_GUEST_REQUEST).  The message needs AES-256-GCM, which
 * QEMU's own ciphers do not have; what can be checked without is.
 */
static SevStatus snp_fw_guest_request(SnpFw *fw, void *buf)
{
    SnpGuestRequest *in = buf;
    uint64_t req = snp_fw_spa(le64_to_cpu(in->req_paddr));
    uint64_t res = snp_fw_spa(le64_to_cpu(in->res_paddr));
    SevStatus status;

    if (!snp_fw_guest_in_state(fw, in->gctx_paddr, SNP_GUEST_RUNNING,
                               &status)) {
        return status;
    }
    if ((req | res) & (RMP_PAGE_4K - 1)) {
        return snp_fw_refuse(fw, SEV_INVALID_ADDRESS,
                             "FW-05: not page aligned");
    }
    if (!snp_fw_is_ram(req, RMP_PAGE_4K)) {
        return snp_fw_refuse(fw, SEV_INVALID_ADDRESS, "FW-05: not RAM");
    }
    status = snp_fw_writable_pages(fw, res, RMP_PAGE_4K);
    if (status) {
        return status;
    }
    qemu_log_mask(LOG_UNIMP, "amd-psp: guest messages are not modelled\n");
    return snp_fw_refuse(fw, SEV_UNSUPPORTED,
                         "FWCMD-18: guest messages are not modelled");
}

typedef struct SnpDbg {
    uint64_t gctx_paddr;
    uint64_t src_paddr;
    uint64_t dst_paddr;
} QEMU_PACKED SnpDbg;

/* FWCMD-19 (ABI SNP_DBG_DECRYPT), FWPAGE-12 (strict choice) */
static SevStatus snp_fw_dbg_decrypt(SnpFw *fw, void *buf)
{
    g_autofree void *page = NULL;
    SnpDbg *in = buf;
    uint64_t src = snp_fw_spa(le64_to_cpu(in->src_paddr));
    uint64_t dst = snp_fw_spa(le64_to_cpu(in->dst_paddr));
    Rmp *rmp = snp_host_rmp(fw->host);
    RmpPageState state;
    RmpState entry;
    SevStatus status;
    bool size_2m;
    SnpGuest *guest = snp_fw_guest_in_state(fw, in->gctx_paddr,
                                            SNP_GUEST_RUNNING, &status);

    if (!guest) {
        return status;
    }
    if (!(guest->policy & SNP_POLICY_DEBUG)) {
        return snp_fw_refuse(fw, SEV_POLICY_FAILURE,
                             "FWCMD-19: policy forbids debugging");
    }
    if (!guest->asid) {
        return snp_fw_refuse(fw, SEV_INACTIVE, "FWCMD-19: guest not active");
    }
    if (((src | dst) & (RMP_PAGE_4K - 1)) ||
        !snp_fw_is_ram(src, RMP_PAGE_4K)) {
        return snp_fw_refuse(fw, SEV_INVALID_ADDRESS, "FW-05: address");
    }
    state = rmp_page_state(rmp, src, &size_2m);
    if ((state != RMP_PAGE_GUEST_VALID && state != RMP_PAGE_GUEST_INVALID) ||
        rmp_read(rmp, size_2m ? src & ~(RMP_PAGE_2M - 1) : src,
                 &entry) != RMP_OK) {
        return snp_fw_refuse(fw, SEV_INVALID_PAGE_STATE,
                             "FWCMD-19: source is no guest page");
    }
    if (entry.asid != guest->asid) {
        return snp_fw_refuse(fw, SEV_INVALID_PAGE_OWNER,
                             "FWCMD-19: source of another guest");
    }
    status = snp_fw_writable_pages(fw, dst, RMP_PAGE_4K);
    if (status) {
        return status;
    }
    page = g_malloc(RMP_PAGE_4K);
    address_space_read(&address_space_memory, src, MEMTXATTRS_UNSPECIFIED,
                       page, RMP_PAGE_4K);
    snp_fw_write(fw, dst, page, RMP_PAGE_4K);
    return SEV_SUCCESS;
}

/* ---- commands ---- */

#define INIT    SNP_FW_INIT

static const SnpFwCommand snp_fw_guest_commands[] = {
    { 0x090, sizeof(SnpGctx), false, INIT, snp_fw_decommission,
      "SNP_DECOMMISSION" },
    { 0x091, sizeof(SnpActivate), false, INIT, snp_fw_activate,
      "SNP_ACTIVATE" },
    { 0x092, 0, false, INIT, NULL, "SNP_GUEST_STATUS" },
    { 0x093, sizeof(SnpGctx), false, INIT, snp_fw_gctx_create,
      "SNP_GCTX_CREATE" },
    { 0x094, sizeof(SnpGuestRequest), false, INIT,
      snp_fw_guest_request, "SNP_GUEST_REQUEST" },
    { 0x095, 0, false, INIT, NULL, "SNP_ACTIVATE_EX" },
    { 0x0a0, sizeof(SnpLaunchStart), false, INIT,
      snp_fw_launch_start, "SNP_LAUNCH_START" },
    { 0x0a1, sizeof(SnpLaunchUpdate), false, INIT,
      snp_fw_launch_update, "SNP_LAUNCH_UPDATE" },
    { 0x0a2, sizeof(SnpLaunchFinish), false, INIT,
      snp_fw_launch_finish, "SNP_LAUNCH_FINISH" },
    { 0x0b0, sizeof(SnpDbg), false, INIT, snp_fw_dbg_decrypt,
      "SNP_DBG_DECRYPT" },
    { 0x0b1, 0, false, INIT, NULL, "SNP_DBG_ENCRYPT" },
};

const SnpFwCommand *snp_fw_guest_command(unsigned cmd)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(snp_fw_guest_commands); i++) {
        if (snp_fw_guest_commands[i].id == cmd) {
            return &snp_fw_guest_commands[i];
        }
    }
    return NULL;
}
