/*
 * SEV-SNP firmware: the SEV and SEV-ES platform and guests, as the commands
 * below 80h have them (FWCMD-24: Linux sev_flush_asids()).
 *
 * Certificates and the Diffie-Hellman session are not modelled, hence neither
 * are sending, receiving and launch secrets; those commands say UNSUPPORTED.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "crypto/hash.h"
#include "crypto/hmac.h"
#include "qemu/guest-random.h"
#include "qemu/bswap.h"
#include "qemu/log.h"
#include "target/i386/snp/snp_host.h"
#include "snp_fw.h"
#include "trace.h"

#define SEV_GUESTS_MAX          1024

#define SEV_TMR_SIZE            (1 * MiB)
#define SEV_TMR_SIZE_SNP        (2 * MiB)

/* Guest policy */
#define SEV_POLICY_NODBG        (1u << 0)
#define SEV_POLICY_ES           (1u << 2)
#define SEV_POLICY_RESERVED     0xffc0u
#define SEV_POLICY_API_MAJOR(p) extract32(p, 16, 8)
#define SEV_POLICY_API_MINOR(p) extract32(p, 24, 8)

/* Encryption works on blocks of 16 bytes */
#define SEV_BLOCK_MASK          15u

void snp_fw_sev_guest_free(gpointer data)
{
    SevGuest *guest = data;

    qcrypto_hash_free(guest->digest);
    g_free(guest);
}

static SevGuest *snp_fw_sev_guest(SnpFw *fw, uint32_t le_handle,
                                  SevStatus *status)
{
    uint32_t handle = le32_to_cpu(le_handle);
    SevGuest *guest = g_hash_table_lookup(fw->sev_guests, &handle);

    *status = guest ? SEV_SUCCESS
                    : snp_fw_refuse(fw, SEV_INVALID_GUEST, "no such handle");
    return guest;
}

static SevGuest *snp_fw_sev_guest_in_state(SnpFw *fw, uint32_t le_handle,
                                           SevGuestState state,
                                           SevStatus *status)
{
    SevGuest *guest = snp_fw_sev_guest(fw, le_handle, status);

    if (guest && guest->state != state) {
        *status = snp_fw_refuse(fw, SEV_INVALID_GUEST_STATE, "guest state");
        return NULL;
    }
    return guest;
}

/* ---- platform ---- */

typedef struct SevInit {
    uint32_t flags;
    uint32_t reserved;
    uint64_t tmr_paddr;
    uint32_t tmr_len;
} QEMU_PACKED SevInit;

#define SEV_INIT_ES             (1u << 0)

/*
 * FWCMD-04 (ABI INIT_EX, SNP_INIT_EX): the trusted memory region, where SEV-ES
 * keeps its checksums
 */
static SevStatus snp_fw_sev_check_tmr(SnpFw *fw, uint64_t spa, uint32_t len)
{
    uint64_t size = fw->snp_init ? SEV_TMR_SIZE_SNP : SEV_TMR_SIZE;

    if (len < size) {
        return snp_fw_refuse(fw, SEV_INVALID_LENGTH, "FWCMD-04: TMR size");
    }
    if (spa & (size - 1)) {
        return snp_fw_refuse(fw, SEV_INVALID_ADDRESS,
                             "FWCMD-04: TMR alignment");
    }
    return snp_fw_writable_pages(fw, spa, len);
}

static SevStatus snp_fw_sev_init(SnpFw *fw, void *buf)
{
    SevInit *in = buf;
    uint32_t flags = le32_to_cpu(in->flags);
    SevStatus status;

    if ((flags & ~SEV_INIT_ES) || in->reserved) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM, "FW-06: reserved field");
    }
    if (flags & SEV_INIT_ES) {
        status = snp_fw_sev_check_tmr(fw,
                                      snp_fw_spa(le64_to_cpu(in->tmr_paddr)),
                                      le32_to_cpu(in->tmr_len));
        if (status) {
            return status;
        }
    }
    fw->sev_es = flags & SEV_INIT_ES;
    fw->sev_state = SEV_PLATFORM_INIT;
    snp_fw_stale_asids(fw, SNP_ASID_STALE_SEV);
    return SEV_SUCCESS;
}

static SevStatus snp_fw_sev_shutdown(SnpFw *fw, void *buf)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, fw->sev_guests);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        snp_fw_retire_asid(fw, ((SevGuest *)value)->asid);
    }
    g_hash_table_remove_all(fw->sev_guests);
    fw->sev_state = SEV_PLATFORM_UNINIT;
    fw->sev_es = false;
    return SEV_SUCCESS;
}

typedef struct SevPlatformStatus {
    uint8_t api_major;
    uint8_t api_minor;
    uint8_t state;
    uint32_t flags;
    uint8_t build;
    uint32_t guest_count;
} QEMU_PACKED SevPlatformStatus;

#define SEV_STATUS_ES           (1u << 8)

static SevStatus snp_fw_sev_platform_status(SnpFw *fw, void *buf)
{
    SevPlatformStatus *out = buf;

    out->api_major = SEV_API_MAJOR;
    out->api_minor = SEV_API_MINOR;
    out->state = fw->sev_state;
    out->flags = cpu_to_le32(fw->sev_es ? SEV_STATUS_ES : 0);
    out->build = SEV_API_BUILD;
    out->guest_count = cpu_to_le32(g_hash_table_size(fw->sev_guests));
    return SEV_SUCCESS;
}

static SevStatus snp_fw_sev_df_flush(SnpFw *fw, void *buf)
{
    return snp_fw_flush_asids(fw, false);
}

/* Keys and certificates have no visible form here, so new ones are the same */
static SevStatus snp_fw_sev_nothing_to_do(SnpFw *fw, void *buf)
{
    return SEV_SUCCESS;
}

typedef struct SevBuffer {
    uint64_t paddr;
    uint32_t len;
} QEMU_PACKED SevBuffer;

/* No image is signed for this part */
static SevStatus snp_fw_sev_download(SnpFw *fw, void *buf)
{
    SevBuffer *in = buf;

    if (!snp_fw_is_ram(snp_fw_spa(le64_to_cpu(in->paddr)),
                       le32_to_cpu(in->len))) {
        return snp_fw_refuse(fw, SEV_INVALID_ADDRESS, "FW-05: not RAM");
    }
    return snp_fw_refuse(fw, SEV_BAD_SIGNATURE, "FWCMD-22: image");
}

/* The IDs of two sockets; a part that is not there has a zero one */
#define SEV_ID_SIZE             64
#define SEV_ID_TEXT             "emulated SEV-SNP host"

static SevStatus snp_fw_sev_get_id(SnpFw *fw, void *buf)
{
    SevBuffer *io = buf;
    uint64_t spa = snp_fw_spa(le64_to_cpu(io->paddr));
    uint32_t len = le32_to_cpu(io->len);
    uint8_t id[2 * SEV_ID_SIZE] = SEV_ID_TEXT;
    SevStatus status;

    /* A caller that has room for one socket gets one; Linux's tools do */
    if (len < SEV_ID_SIZE) {
        io->len = cpu_to_le32(sizeof(id));
        return snp_fw_refuse(fw, SEV_INVALID_LENGTH, "FW-07: length");
    }
    len = len < sizeof(id) ? SEV_ID_SIZE : sizeof(id);
    status = snp_fw_writable_pages(fw, spa, len);
    if (status) {
        return status;
    }
    snp_fw_write(fw, spa, id, len);
    io->len = cpu_to_le32(len);
    return SEV_SUCCESS;
}

/* ---- guests: life cycle and ASIDs ---- */

typedef struct SevLaunchStart {
    uint32_t handle;
    uint32_t policy;
    uint64_t dh_cert_paddr;
    uint32_t dh_cert_len;
    uint32_t reserved;
    uint64_t session_paddr;
    uint32_t session_len;
} QEMU_PACKED SevLaunchStart;

static const char *snp_fw_sev_policy_refused(SnpFw *fw, uint32_t policy)
{
    if (policy & SEV_POLICY_RESERVED) {
        return "policy: reserved bits";
    }
    if ((policy & SEV_POLICY_ES) && !fw->sev_es) {
        return "policy: platform initialized without SEV-ES";
    }
    if (SEV_POLICY_API_MAJOR(policy) > SEV_API_MAJOR ||
        (SEV_POLICY_API_MAJOR(policy) == SEV_API_MAJOR &&
         SEV_POLICY_API_MINOR(policy) > SEV_API_MINOR)) {
        return "policy: asks for newer firmware";
    }
    return NULL;
}

static SevStatus snp_fw_sev_launch_start(SnpFw *fw, void *buf)
{
    SevLaunchStart *io = buf;
    uint32_t policy = le32_to_cpu(io->policy);
    const char *why = snp_fw_sev_policy_refused(fw, policy);
    SevGuest *guest;

    if (io->reserved) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM, "FW-06: reserved field");
    }
    if (why) {
        return snp_fw_refuse(fw, SEV_POLICY_FAILURE, why);
    }
    if (io->handle || io->dh_cert_len || io->session_len) {
        qemu_log_mask(LOG_UNIMP, "amd-psp: key sharing and launch sessions "
                      "are not modelled\n");
        return snp_fw_refuse(fw, SEV_UNSUPPORTED,
                             "LAUNCH_START with a session or a shared key");
    }
    if (g_hash_table_size(fw->sev_guests) >= SEV_GUESTS_MAX) {
        return snp_fw_refuse(fw, SEV_RESOURCE_LIMIT, "too many guests");
    }

    guest = g_new0(SevGuest, 1);
    guest->digest = qcrypto_hash_new(QCRYPTO_HASH_ALGO_SHA256, NULL);
    if (!guest->digest ||
        qemu_guest_getrandom(guest->tik, sizeof(guest->tik), NULL)) {
        snp_fw_sev_guest_free(guest);
        return snp_fw_refuse(fw, SEV_RESOURCE_LIMIT, "no SHA-256");
    }
    do {
        guest->handle = ++fw->last_handle;
    } while (!guest->handle ||
             g_hash_table_contains(fw->sev_guests, &guest->handle));
    guest->state = SEV_GUEST_LUPDATE;
    guest->policy = policy;
    g_hash_table_insert(fw->sev_guests, &guest->handle, guest);
    fw->sev_state = SEV_PLATFORM_WORKING;
    io->handle = cpu_to_le32(guest->handle);
    return SEV_SUCCESS;
}

typedef struct SevHandle {
    uint32_t handle;
} QEMU_PACKED SevHandle;

static SevStatus snp_fw_sev_decommission(SnpFw *fw, void *buf)
{
    SevHandle *in = buf;
    SevStatus status;
    SevGuest *guest = snp_fw_sev_guest(fw, in->handle, &status);

    if (!guest) {
        return status;
    }
    if (guest->asid) {
        return snp_fw_refuse(fw, SEV_ACTIVE, "guest still active");
    }
    g_hash_table_remove(fw->sev_guests, &guest->handle);
    if (g_hash_table_size(fw->sev_guests) == 0) {
        fw->sev_state = SEV_PLATFORM_INIT;
    }
    return SEV_SUCCESS;
}

typedef struct SevActivate {
    uint32_t handle;
    uint32_t asid;
} QEMU_PACKED SevActivate;

static SevStatus snp_fw_sev_activate(SnpFw *fw, void *buf)
{
    SevActivate *in = buf;
    uint32_t asid = le32_to_cpu(in->asid);
    SevStatus status;
    SevGuest *guest = snp_fw_sev_guest(fw, in->handle, &status);

    if (!guest) {
        return status;
    }
    if (guest->asid) {
        return snp_fw_refuse(fw, SEV_ACTIVE, "guest is active");
    }
    /*
     * CPUID-02 (APM3 E, 8000_001F): SEV-ES guests below the limit, SEV guests
     * from it on
     */
    if (!(guest->policy & SEV_POLICY_ES) !=
        (asid >= snp_host_min_sev_asid(fw->host))) {
        return snp_fw_refuse(fw, SEV_INVALID_ASID,
                             "CPUID-02: ASID of the other kind of guest");
    }
    status = snp_fw_bind_asid(fw, asid, SNP_ASID_SEV);
    if (status == SEV_SUCCESS) {
        guest->asid = asid;
        /* ENC-04 (APM2 15.34) */
        snp_host_new_key(fw->host, asid, true);
    }
    return status;
}

/*
 * FWCMD-24 (Linux sev_flush_asids()): cores must WBINVD again before the ASID's
 * flush
 */
static SevStatus snp_fw_sev_deactivate(SnpFw *fw, void *buf)
{
    SevHandle *in = buf;
    SevStatus status;
    SevGuest *guest = snp_fw_sev_guest(fw, in->handle, &status);

    if (!guest) {
        return status;
    }
    if (!guest->asid) {
        return snp_fw_refuse(fw, SEV_INACTIVE, "guest not active");
    }
    snp_fw_retire_asid(fw, guest->asid);
    guest->asid = 0;
    return SEV_SUCCESS;
}

typedef struct SevGuestStatus {
    uint32_t handle;
    uint32_t policy;
    uint32_t asid;
    uint8_t state;
} QEMU_PACKED SevGuestStatus;

static SevStatus snp_fw_sev_guest_status(SnpFw *fw, void *buf)
{
    SevGuestStatus *io = buf;
    SevStatus status;
    SevGuest *guest = snp_fw_sev_guest(fw, io->handle, &status);

    if (!guest) {
        return status;
    }
    io->policy = cpu_to_le32(guest->policy);
    io->asid = cpu_to_le32(guest->asid);
    io->state = guest->state;
    return SEV_SUCCESS;
}

/* ---- guests: launch ---- */

typedef struct SevLaunchData {
    uint32_t handle;
    uint32_t reserved;
    uint64_t paddr;
    uint32_t len;
} QEMU_PACKED SevLaunchData;

/* Take [@spa, @spa + @len) into the launch digest and encrypt it, by page */
static SevStatus snp_fw_sev_measure(SnpFw *fw, SevGuest *guest, uint64_t spa,
                                    uint32_t len)
{
    g_autofree char *page = g_malloc(RMP_PAGE_4K);

    while (len) {
        uint32_t n = MIN(len, RMP_PAGE_4K - (spa & (RMP_PAGE_4K - 1)));
        struct iovec iov = { page, n };
        SevStatus status = snp_fw_read(fw, spa, page, n);

        if (status) {
            return status;
        }
        if (qcrypto_hash_updatev(guest->digest, &iov, 1, NULL)) {
            return snp_fw_refuse(fw, SEV_RESOURCE_LIMIT, "no SHA-256");
        }
        snp_fw_write_as(fw, guest->asid, spa, page, n);
        spa += n;
        len -= n;
    }
    return SEV_SUCCESS;
}

static SevStatus snp_fw_sev_launch_update(SnpFw *fw,
                                          SevLaunchData *in,
                                          bool vmsa)
{
    uint64_t spa = snp_fw_spa(le64_to_cpu(in->paddr));
    uint32_t len = le32_to_cpu(in->len);
    SevStatus status;
    SevGuest *guest = snp_fw_sev_guest_in_state(fw, in->handle,
                                                SEV_GUEST_LUPDATE, &status);

    if (!guest) {
        return status;
    }
    if (!guest->asid) {
        return snp_fw_refuse(fw, SEV_INACTIVE, "guest not active");
    }
    if (vmsa && !(guest->policy & SEV_POLICY_ES)) {
        return snp_fw_refuse(fw, SEV_POLICY_FAILURE, "VMSA of a SEV guest");
    }
    if (vmsa ? len != RMP_PAGE_4K : !len || (len & SEV_BLOCK_MASK)) {
        return snp_fw_refuse(fw, SEV_INVALID_LENGTH, "FW-07: length");
    }
    if (spa & (vmsa ? RMP_PAGE_4K - 1 : SEV_BLOCK_MASK)) {
        return snp_fw_refuse(fw, SEV_INVALID_ADDRESS, "FW-05: alignment");
    }
    status = snp_fw_writable_pages(fw, spa, len);
    if (status) {
        return status;
    }
    return snp_fw_sev_measure(fw, guest, spa, len);
}

static SevStatus snp_fw_sev_launch_update_data(SnpFw *fw, void *buf)
{
    return snp_fw_sev_launch_update(fw, buf, false);
}

static SevStatus snp_fw_sev_launch_update_vmsa(SnpFw *fw, void *buf)
{
    return snp_fw_sev_launch_update(fw, buf, true);
}

typedef struct SevMeasurement {
    uint8_t measure[QCRYPTO_HASH_DIGEST_LEN_SHA256];
    uint8_t mnonce[16];
} QEMU_PACKED SevMeasurement;

/* What the measurement is an HMAC of */
typedef struct SevMeasured {
    uint8_t context;            /* 4: launch measurement */
    uint8_t api_major;
    uint8_t api_minor;
    uint8_t build;
    uint32_t policy;
    uint8_t digest[QCRYPTO_HASH_DIGEST_LEN_SHA256];
    uint8_t mnonce[16];
} QEMU_PACKED SevMeasured;

static bool snp_fw_sev_make_measurement(SevGuest *guest,
                                        SevMeasurement *out)
{
    SevMeasured in = {
        .context = 4,
        .api_major = SEV_API_MAJOR,
        .api_minor = SEV_API_MINOR,
        .build = SEV_API_BUILD,
        .policy = cpu_to_le32(guest->policy),
    };
    size_t len = sizeof(in.digest);
    uint8_t *result = in.digest;
    g_autoptr(QCryptoHmac) hmac = NULL;

    if (qemu_guest_getrandom(in.mnonce, sizeof(in.mnonce), NULL) ||
        qcrypto_hash_finalize_bytes(guest->digest, &result, &len, NULL)) {
        return false;
    }
    hmac = qcrypto_hmac_new(QCRYPTO_HASH_ALGO_SHA256, guest->tik,
                            sizeof(guest->tik), NULL);
    len = sizeof(out->measure);
    result = out->measure;
    if (!hmac || qcrypto_hmac_bytes(hmac, (const char *)&in, sizeof(in),
                                    &result, &len, NULL)) {
        return false;
    }
    memcpy(out->mnonce, in.mnonce, sizeof(out->mnonce));
    return true;
}

static SevStatus snp_fw_sev_launch_measure(SnpFw *fw, void *buf)
{
    SevLaunchData *io = buf;
    uint64_t spa = snp_fw_spa(le64_to_cpu(io->paddr));
    SevMeasurement out;
    SevStatus status;
    SevGuest *guest = snp_fw_sev_guest_in_state(fw, io->handle,
                                                SEV_GUEST_LUPDATE, &status);

    if (!guest) {
        return status;
    }
    if (le32_to_cpu(io->len) < sizeof(out)) {
        io->len = cpu_to_le32(sizeof(out));
        return snp_fw_refuse(fw, SEV_INVALID_LENGTH, "FW-07: length");
    }
    status = snp_fw_writable_pages(fw, spa, sizeof(out));
    if (status) {
        return status;
    }
    if (!snp_fw_sev_make_measurement(guest, &out)) {
        return snp_fw_refuse(fw, SEV_RESOURCE_LIMIT, "no HMAC");
    }
    snp_fw_write(fw, spa, &out, sizeof(out));
    io->len = cpu_to_le32(sizeof(out));
    guest->state = SEV_GUEST_LSECRET;
    return SEV_SUCCESS;
}

static SevStatus snp_fw_sev_launch_finish(SnpFw *fw, void *buf)
{
    SevHandle *in = buf;
    SevStatus status;
    SevGuest *guest = snp_fw_sev_guest_in_state(fw, in->handle,
                                                SEV_GUEST_LSECRET, &status);

    if (guest) {
        guest->state = SEV_GUEST_RUNNING;
    }
    return status;
}

/* ---- guests: debug ---- */

typedef struct SevDbg {
    uint32_t handle;
    uint32_t reserved;
    uint64_t src_paddr;
    uint64_t dst_paddr;
    uint32_t len;
} QEMU_PACKED SevDbg;

/* From one key to another: ASIDs, 0 being the host's */
static SevStatus snp_fw_sev_dbg(SnpFw *fw, void *buf, bool encrypt)
{
    SevDbg *in = buf;
    uint64_t src = snp_fw_spa(le64_to_cpu(in->src_paddr));
    uint64_t dst = snp_fw_spa(le64_to_cpu(in->dst_paddr));
    uint32_t len = le32_to_cpu(in->len);
    uint8_t page[RMP_PAGE_4K];
    SevStatus status;
    SevGuest *guest = snp_fw_sev_guest(fw, in->handle, &status);

    if (!guest) {
        return status;
    }
    if (guest->policy & SEV_POLICY_NODBG) {
        return snp_fw_refuse(fw, SEV_POLICY_FAILURE,
                             "policy forbids debugging");
    }
    if (!guest->asid) {
        return snp_fw_refuse(fw, SEV_INACTIVE, "guest not active");
    }
    if (in->reserved) {
        return snp_fw_refuse(fw, SEV_INVALID_PARAM, "FW-06: reserved field");
    }
    if (!len || (len & SEV_BLOCK_MASK)) {
        return snp_fw_refuse(fw, SEV_INVALID_LENGTH, "FW-07: length");
    }
    if ((src | dst) & SEV_BLOCK_MASK) {
        return snp_fw_refuse(fw, SEV_INVALID_ADDRESS, "FW-05: alignment");
    }
    status = snp_fw_writable_pages(fw, dst, len);
    for (uint32_t n; !status && len; src += n, dst += n, len -= n) {
        n = MIN(len, sizeof(page));
        status = snp_fw_read_as(fw, encrypt ? 0 : guest->asid, src, page, n);
        if (!status) {
            snp_fw_write_as(fw, encrypt ? guest->asid : 0, dst, page, n);
        }
    }
    return status;
}

static SevStatus snp_fw_sev_dbg_decrypt(SnpFw *fw, void *buf)
{
    return snp_fw_sev_dbg(fw, buf, false);
}

static SevStatus snp_fw_sev_dbg_encrypt(SnpFw *fw, void *buf)
{
    return snp_fw_sev_dbg(fw, buf, true);
}

/* ---- commands ---- */

#define UNINIT  SNP_FW_UNINIT
#define INIT    SNP_FW_INIT
#define WORKING SNP_FW_WORKING
#define ANY     SNP_FW_ANY

static const SnpFwCommand snp_fw_sev_commands[] = {
    { 0x001, sizeof(SevInit), false, UNINIT, snp_fw_sev_init, "INIT" },
    { 0x002, 0, false, INIT | WORKING, snp_fw_sev_shutdown, "SHUTDOWN" },
    { 0x003, 0, false, UNINIT, snp_fw_sev_nothing_to_do, "PLATFORM_RESET" },
    { 0x004, sizeof(SevPlatformStatus), true, ANY, snp_fw_sev_platform_status,
      "PLATFORM_STATUS" },
    { 0x005, 0, false, INIT, snp_fw_sev_nothing_to_do, "PEK_GEN" },
    { 0x006, 0, true, INIT, NULL, "PEK_CSR" },
    { 0x007, 0, false, INIT, NULL, "PEK_CERT_IMPORT" },
    { 0x008, 0, true, INIT | WORKING, NULL, "PDH_CERT_EXPORT" },
    { 0x009, 0, false, INIT | WORKING, snp_fw_sev_nothing_to_do, "PDH_GEN" },
    { 0x00a, 0, false, INIT | WORKING, snp_fw_sev_df_flush, "DF_FLUSH" },
    { 0x00b, sizeof(SevBuffer), false, UNINIT, snp_fw_sev_download,
      "DOWNLOAD_FIRMWARE" },
    { 0x00c, sizeof(SevBuffer), true, ANY, snp_fw_sev_get_id,
      "GET_ID" },
    { 0x00d, 0, false, UNINIT, NULL, "INIT_EX" },

    { 0x020, sizeof(SevHandle), false, WORKING,
      snp_fw_sev_decommission, "DECOMMISSION" },
    { 0x021, sizeof(SevActivate), false, WORKING, snp_fw_sev_activate,
      "ACTIVATE" },
    { 0x022, sizeof(SevHandle), false, WORKING, snp_fw_sev_deactivate,
      "DEACTIVATE" },
    { 0x023, sizeof(SevGuestStatus), true, WORKING,
      snp_fw_sev_guest_status, "GUEST_STATUS" },
    { 0x024, 0, false, WORKING, NULL, "COPY" },
    { 0x025, 0, false, WORKING, NULL, "ACTIVATE_EX" },

    { 0x030, sizeof(SevLaunchStart), true, INIT | WORKING,
      snp_fw_sev_launch_start, "LAUNCH_START" },
    { 0x031, sizeof(SevLaunchData), false, WORKING,
      snp_fw_sev_launch_update_data, "LAUNCH_UPDATE_DATA" },
    { 0x032, sizeof(SevLaunchData), false, WORKING,
      snp_fw_sev_launch_update_vmsa, "LAUNCH_UPDATE_VMSA" },
    { 0x033, sizeof(SevLaunchData), true, WORKING,
      snp_fw_sev_launch_measure, "LAUNCH_MEASURE" },
    { 0x034, 0, false, WORKING, NULL, "LAUNCH_UPDATE_SECRET" },
    { 0x035, sizeof(SevHandle), false, WORKING,
      snp_fw_sev_launch_finish, "LAUNCH_FINISH" },
    { 0x036, 0, true, WORKING, NULL, "ATTESTATION" },

    { 0x040, 0, true, WORKING, NULL, "SEND_START" },
    { 0x041, 0, true, WORKING, NULL, "SEND_UPDATE_DATA" },
    { 0x042, 0, true, WORKING, NULL, "SEND_UPDATE_VMSA" },
    { 0x043, 0, false, WORKING, NULL, "SEND_FINISH" },
    { 0x044, 0, false, WORKING, NULL, "SEND_CANCEL" },
    { 0x050, 0, true, INIT | WORKING, NULL, "RECEIVE_START" },
    { 0x051, 0, false, WORKING, NULL, "RECEIVE_UPDATE_DATA" },
    { 0x052, 0, false, WORKING, NULL, "RECEIVE_UPDATE_VMSA" },
    { 0x053, 0, false, WORKING, NULL, "RECEIVE_FINISH" },

    { 0x060, sizeof(SevDbg), false, WORKING, snp_fw_sev_dbg_decrypt,
      "DBG_DECRYPT" },
    { 0x061, sizeof(SevDbg), false, WORKING, snp_fw_sev_dbg_encrypt,
      "DBG_ENCRYPT" },
};

const SnpFwCommand *snp_fw_sev_command(unsigned cmd)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(snp_fw_sev_commands); i++) {
        if (snp_fw_sev_commands[i].id == cmd) {
            return &snp_fw_sev_commands[i];
        }
    }
    return NULL;
}
