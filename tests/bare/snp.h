/*
 * The SNP firmware's mailbox and the RMP, for the bare-metal tests.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_BARE_SNP_H
#define TESTS_BARE_SNP_H

#include "machine.h"

/* Status codes of the firmware */
enum {
    OK                      = 0x00,
    PLATFORM_STATE          = 0x01,
    GUEST_STATE             = 0x02,
    CONFIG                  = 0x03,
    LENGTH                  = 0x04,
    POLICY                  = 0x07,
    INACTIVE                = 0x08,
    ADDRESS                 = 0x09,
    BAD_SIGNATURE           = 0x0a,
    BAD_MEASUREMENT         = 0x0b,
    ASID_OWNED              = 0x0c,
    BAD_ASID                = 0x0d,
    WBINVD_REQUIRED         = 0x0e,
    DFFLUSH_REQUIRED        = 0x0f,
    NO_GUEST                = 0x10,
    NO_COMMAND              = 0x11,
    ACTIVE                  = 0x12,
    UNSUPPORTED             = 0x15,
    PARAM                   = 0x16,
    PAGE_SIZE               = 0x19,
    PAGE_STATE              = 0x1a,
    PAGE_OWNER              = 0x1c,
    RMP_INIT_REQUIRED       = 0x20,
    BAD_VERSION             = 0x22,
    NO_ANSWER               = 0xffff,   /* ours: it hangs */
};

enum {
    INIT = 0x01, SHUTDOWN = 0x02, PLATFORM_STATUS = 0x04, DF_FLUSH = 0x0a,
    DOWNLOAD_FIRMWARE = 0x0b, GET_ID = 0x0c, DECOMMISSION = 0x20,
    ACTIVATE = 0x21, DEACTIVATE = 0x22, GUEST_STATUS = 0x23,
    LAUNCH_START = 0x30, LAUNCH_UPDATE_DATA = 0x31, LAUNCH_UPDATE_VMSA = 0x32,
    LAUNCH_MEASURE = 0x33, LAUNCH_FINISH = 0x35, SEND_START = 0x40,
    DBG_DECRYPT = 0x60, DBG_ENCRYPT = 0x61,
    SNP_PLATFORM_STATUS = 0x83, SNP_DF_FLUSH = 0x84, SNP_INIT_EX = 0x85,
    SNP_SHUTDOWN_EX = 0x86, SNP_DECOMMISSION = 0x90, SNP_ACTIVATE = 0x91,
    SNP_GUEST_STATUS = 0x92, SNP_GCTX_CREATE = 0x93, SNP_GUEST_REQUEST = 0x94,
    SNP_LAUNCH_START = 0xa0, SNP_LAUNCH_UPDATE = 0xa1, SNP_LAUNCH_FINISH = 0xa2,
    SNP_DBG_DECRYPT = 0xb0, SNP_PAGE_RECLAIM = 0xc7, SNP_CONFIG = 0xc9,
    SNP_COMMIT = 0xcb, SNP_FEATURE_INFO = 0xce,
};

#define PSP_INTEN       (PSP_BAR + 0x10690)
#define PSP_INTSTS      (PSP_BAR + 0x10694)
#define PSP_CMDRESP     (PSP_BAR + 0x10980)
#define PSP_CMDBUF_LO   (PSP_BAR + 0x109e0)
#define PSP_CMDBUF_HI   (PSP_BAR + 0x109e4)
#define PSP_CAPABILITY  (PSP_BAR + 0x109fc)

#define NOWHERE         0x500000000ull      /* no RAM there */

/* A command with its buffer at @spa: the status */
unsigned command_at(unsigned cmd, uint64_t spa);

/* A command buffer of 64-bit words, as most are */
extern uint64_t words[8];

#define COMMAND(cmd, ...) ({                                            \
    const uint64_t in[] = { __VA_ARGS__ };                              \
    memset(words, 0, sizeof(words));                                    \
    memcpy(words, in, sizeof(in));                                      \
    command_at(cmd, (uint64_t)words);                                   \
})

#define PAIR(lo, hi)    ((uint64_t)(hi) << 32 | (uint32_t)(lo))

struct rmp_state {
    uint64_t gpa;
    uint8_t assigned, size, immutable, reserved;
    uint32_t asid;
};

/* The RMP entry as the table holds it */
uint64_t *raw(uint64_t spa);

/* RMPUPDATE: its return code */
unsigned rmpupdate(uint64_t spa, uint64_t gpa, bool assigned, bool large,
                   bool immutable, unsigned asid);
/* The same, where it must work */
void make(uint64_t spa, uint64_t gpa, bool large, bool immutable,
          unsigned asid);
void make_firmware(uint64_t spa);
void make_shared(uint64_t spa);
/* Firmware, Pre-Guest ... back to Hypervisor */
void reclaim(uint64_t spa);
void fill(uint64_t spa, int byte);

#endif
