/*
 * The SEV and SEV-SNP firmware of the emulated Secure Processor.
 *
 *   snp_fw.c        commands, page states, ASIDs, the SNP platform
 *   snp_fw_guest.c  SNP guests: contexts, launch, debug
 *   snp_fw_sev.c    the SEV and SEV-ES platform and guests (legacy commands)
 *
 * It follows the SEV-SNP Firmware ABI 1.55 (AMD 56860) and the SEV API 0.24
 * (AMD 55766) as far as docs/system/i386/amd-snp-host.rst says; rule IDs are
 * those of its table.  Everything here runs under the BQL, one command at a
 * time.
 *
 * The hypervisor is hostile: a command buffer is read once, an address counts
 * only after snp_fw_read() or snp_fw_writable_pages() agreed to it, and what a
 * context page is worth is kept here, not in guest memory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_MISC_SNP_FW_H
#define HW_MISC_SNP_FW_H

#include "crypto/hash.h"
#include "hw/i386/amd_iommu_snp.h"
#include "qemu/bitmap.h"
#include "target/i386/snp/rmp.h"

#define SEV_API_MAJOR           1
#define SEV_API_MINOR           55
#define SEV_API_BUILD           21

/*
 * TCB version in the Genoa/Milan layout: boot loader, TEE, SNP, microcode.
 * From SNP SVN 1Bh on (AMD-SB-3023) Linux stops offering SEV-ES on Zen 3/4.
 */
#define SNP_TCB_VERSION         0x4816000000000004ull

/* Status codes; the comment of a refusal names its rule */
typedef enum SevStatus {
    SEV_SUCCESS                 = 0x00,
    SEV_INVALID_PLATFORM_STATE  = 0x01,
    SEV_INVALID_GUEST_STATE     = 0x02,
    SEV_INVALID_CONFIG          = 0x03,
    SEV_INVALID_LENGTH          = 0x04,
    SEV_POLICY_FAILURE          = 0x07,
    SEV_INACTIVE                = 0x08,
    SEV_INVALID_ADDRESS         = 0x09,
    SEV_BAD_SIGNATURE           = 0x0a,
    SEV_BAD_MEASUREMENT         = 0x0b,
    SEV_ASID_OWNED              = 0x0c,
    SEV_INVALID_ASID            = 0x0d,
    SEV_WBINVD_REQUIRED         = 0x0e,
    SEV_DFFLUSH_REQUIRED        = 0x0f,
    SEV_INVALID_GUEST           = 0x10,
    SEV_INVALID_COMMAND         = 0x11,
    SEV_ACTIVE                  = 0x12,
    SEV_UNSUPPORTED             = 0x15,
    SEV_INVALID_PARAM           = 0x16,
    SEV_RESOURCE_LIMIT          = 0x17,
    SEV_INVALID_PAGE_SIZE       = 0x19,
    SEV_INVALID_PAGE_STATE      = 0x1a,
    SEV_INVALID_PAGE_OWNER      = 0x1c,
    SEV_RMP_INIT_REQUIRED       = 0x20,
    SEV_BAD_VERSION             = 0x22,
} SevStatus;

/* States of the SEV platform, and of the SNP platform (the first two) */
typedef enum SevPlatformState {
    SEV_PLATFORM_UNINIT,
    SEV_PLATFORM_INIT,
    SEV_PLATFORM_WORKING,
} SevPlatformState;

/*
 * What an ASID is to the firmware.  A stale one was in use and becomes free
 * by a data fabric flush after a WBINVD on every core; SNP_DF_FLUSH frees both
 * kinds, DF_FLUSH those of legacy guests only (FWCMD-07: ABI SNP_DF_FLUSH;
 * FWCMD-24: Linux sev_flush_asids()).
 */
typedef enum SnpAsidState {
    SNP_ASID_FREE,
    SNP_ASID_SEV,               /* bound to a legacy guest */
    SNP_ASID_SNP,               /* bound to an SNP guest */
    SNP_ASID_STALE_SEV,
    SNP_ASID_STALE_SNP,
} SnpAsidState;

/* Command numbers; those below SNP_FW_FIRST_SNP_CMD are the SEV platform's */
#define SNP_FW_COMMANDS         0x800
#define SNP_FW_FIRST_SNP_CMD    0x80

#define SNP_LD_SIZE             QCRYPTO_HASH_DIGEST_LEN_SHA384
#define SNP_NR_VMPCK            4
#define SNP_VMPCK_SIZE          32

typedef enum SnpGuestState {
    SNP_GUEST_INIT,
    SNP_GUEST_LAUNCH,
    SNP_GUEST_RUNNING,
} SnpGuestState;

/* An SNP guest context; the key in SnpFw.snp_guests is its page's address */
typedef struct SnpGuest {
    uint64_t gctx;
    SnpGuestState state;
    uint32_t asid;              /* 0: not active */
    uint64_t policy;
    uint8_t gosvw[16];
    uint8_t ld[SNP_LD_SIZE];    /* launch digest */
    uint8_t host_data[32];
    bool vcek_disabled;
    uint8_t vmpck[SNP_NR_VMPCK][SNP_VMPCK_SIZE];
} SnpGuest;

typedef enum SevGuestState {
    SEV_GUEST_UNINIT,
    SEV_GUEST_LUPDATE,
    SEV_GUEST_LSECRET,
    SEV_GUEST_RUNNING,
} SevGuestState;

/* A SEV or SEV-ES guest; the key in SnpFw.sev_guests is its handle */
typedef struct SevGuest {
    uint32_t handle;
    SevGuestState state;
    uint32_t asid;              /* 0: not active */
    uint32_t policy;
    uint8_t tik[16];            /* keys the launch measurement */
    QCryptoHash *digest;        /* of what was launched so far */
} SevGuest;

typedef struct SnpFw {
    /* constant */
    SnpHost *host;
    bool x86_snp_shutdown;      /* SNP_SHUTDOWN_EX may clear SNP_EN */
    unsigned nr_asids;

    /* SNP platform */
    bool snp_init;              /* SNP state is INIT */
    bool rmp_initialized;       /* since reset */
    uint64_t reported_tcb;
    uint32_t config_flags;      /* MASK_CHIP_ID, MASK_CHIP_KEY */
    AMDVISnpBuffer iommu[AMDVI_SNP_BUFFERS];
    unsigned nr_iommu;          /* of these are firmware pages */
    GHashTable *snp_guests;

    /* SEV platform */
    SevPlatformState sev_state;
    bool sev_es;
    uint32_t last_handle;
    GHashTable *sev_guests;

    uint8_t *asid;              /* SnpAsidState, by ASID */
    DECLARE_BITMAP(warned, SNP_FW_COMMANDS);    /* of a missing command */
    const char *cmd_name;       /* of the command being run, for traces */
} SnpFw;

/* A command's own copy of its buffer; written back if the command may */
typedef SevStatus SnpFwHandler(SnpFw *fw, void *buf);

typedef struct SnpFwCommand {
    uint16_t id;
    uint16_t buf_len;           /* 0: takes no buffer */
    /* FW-10 (Linux sev_cmd_buf_writable()): the buffer returns data */
    bool buf_out;
    uint8_t states;             /* SNP_FW_STATE() of the legal ones */
    SnpFwHandler *run;          /* NULL: known but UNSUPPORTED */
    const char *name;
} SnpFwCommand;

#define SNP_FW_STATE(s)         (1u << (s))
#define SNP_FW_UNINIT           SNP_FW_STATE(SEV_PLATFORM_UNINIT)
#define SNP_FW_INIT             SNP_FW_STATE(SEV_PLATFORM_INIT)
#define SNP_FW_WORKING          SNP_FW_STATE(SEV_PLATFORM_WORKING)
#define SNP_FW_ANY              (SNP_FW_UNINIT | SNP_FW_INIT | SNP_FW_WORKING)

/* ---- for the device ---- */

SnpFw *snp_fw_new(SnpHost *host, bool x86_snp_shutdown);
void snp_fw_free(SnpFw *fw);
/* Platform reset: no guest, both platforms UNINIT */
void snp_fw_reset(SnpFw *fw);
/* Run one command to its end; the status code for the mailbox */
SevStatus snp_fw_command(SnpFw *fw, unsigned cmd, uint64_t buf);

/* ---- for the firmware's own files ---- */

/* Trace a refusal; @why starts with the rule's ID.  Returns @status. */
SevStatus snp_fw_refuse(SnpFw *fw, SevStatus status, const char *why);

/* Addresses may carry the C-bit (MSR-08: log of an SNP machine) */
uint64_t snp_fw_spa(uint64_t addr);

/* Is [@spa, @spa + @len) all RAM?  False for @len 0 and for wrap-around. */
bool snp_fw_is_ram(uint64_t spa, uint64_t len);

/*
 * Read what the hypervisor passes.  SEV_INVALID_ADDRESS unless it is all RAM
 * that is not private to an SNP guest (FW-05: ABI, status codes; FW-11: strict
 * choice).
 */
SevStatus snp_fw_read(SnpFw *fw, uint64_t spa, void *buf, uint64_t len);
/* ... by who has the key of this SEV guest's ASID (ENC-04: APM2 15.34) */
SevStatus snp_fw_read_as(SnpFw *fw, unsigned key, uint64_t spa, void *buf,
                         uint64_t len);

/*
 * May the firmware write [@spa, @spa + @len)?  Once SNP is INIT, only Firmware
 * pages of 4 KB, and pages the RMP does not cover (FW-05, FW-13: ABI, status
 * codes; FW-09: Linux snp_prep_cmd_buf()).
 */
SevStatus snp_fw_writable_pages(SnpFw *fw, uint64_t spa, uint64_t len);

/* Write after snp_fw_writable_pages() or an equivalent check */
void snp_fw_write(SnpFw *fw, uint64_t spa, const void *buf, uint64_t len);
void snp_fw_write_as(SnpFw *fw, unsigned key, uint64_t spa, const void *buf,
                     uint64_t len);

/* One 4 KB page in state @state?  SEV_INVALID_PAGE_STATE or _SIZE if not. */
SevStatus snp_fw_page_in_state(SnpFw *fw, uint64_t spa, RmpPageState state);

/*
 * Bind an ASID (FWCMD-10: ABI SNP_ACTIVATE; ACTIVATE); take it back and ask for
 * a flush
 */
SevStatus snp_fw_bind_asid(SnpFw *fw, uint32_t asid, SnpAsidState owner);
void snp_fw_retire_asid(SnpFw *fw, uint32_t asid);
/* After INIT or SNP_INIT: every ASID waits for a WBINVD and a flush */
void snp_fw_stale_asids(SnpFw *fw, SnpAsidState stale);
/* DF_FLUSH, or SNP_DF_FLUSH if @snp */
SevStatus snp_fw_flush_asids(SnpFw *fw, bool snp);

const SnpFwCommand *snp_fw_sev_command(unsigned cmd);
const SnpFwCommand *snp_fw_guest_command(unsigned cmd);

/* Destructor of SnpFw.sev_guests' values */
void snp_fw_sev_guest_free(gpointer guest);

#endif
