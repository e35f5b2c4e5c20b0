/*
 * The SNP firmware's mailbox and the RMP, for the bare-metal tests.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "snp.h"

unsigned command_at(unsigned cmd, uint64_t spa)
{
    static bool dead;           /* fail=CMD:hang: it answers nothing more */
    unsigned polls = 0;
    uint32_t resp;

    if (dead) {
        return NO_ANSWER;
    }
    mmio_write(PSP_CMDBUF_LO, spa);
    mmio_write(PSP_CMDBUF_HI, spa >> 32);
    mmio_write(PSP_CMDRESP, cmd << 16);
    do {
        resp = mmio_read(PSP_CMDRESP);
        /* FW-12: busy is what delay= makes it, and then for a moment */
        if (!(resp & 0x80000000u) && resp != cmd << 16) {
            bail("FW-12: no response to command", cmd);
        }
        if (++polls == 1 << 22) {
            dead = true;
            return NO_ANSWER;
        }
    } while (!(resp & 0x80000000u));
    return resp & 0xffff;
}

uint64_t words[8] __attribute__((aligned(4096)));

uint64_t *raw(uint64_t spa)
{
    uint64_t table = rdmsr(MSR_RMP_BASE) + 0x4000;

    /* In segments, all of this machine's memory is in the first one */
    if (rdmsr(MSR_RMP_END) < table) {
        table = F64(table, 0) & 0x000ffffffff00000;
    }
    return (uint64_t *)(table + (spa >> 12) * 16);
}

unsigned rmpupdate(uint64_t spa, uint64_t gpa, bool assigned, bool large,
                          bool immutable, unsigned asid)
{
    struct rmp_state state = { gpa, assigned, large, immutable, 0, asid };
    uint64_t rax = spa;

    asm volatile(".byte 0xf2, 0x0f, 0x01, 0xfe"
                 : "+a"(rax) : "c"(&state), "m"(state) : "memory", "cc");
    return rax;
}

/*
 * The same, where it must work: with contention= another processor may have the
 * entry, up to three times in a row
 */
static unsigned rmpupdate_again(uint64_t spa, uint64_t gpa, bool assigned,
                                bool large, bool immutable, unsigned asid)
{
    unsigned rc, tries = 4;

    do {
        rc = rmpupdate(spa, gpa, assigned, large, immutable, asid);
    } while ((rc == 3 || rc == 4) && --tries);
    return rc;
}

void make(uint64_t spa, uint64_t gpa, bool large, bool immutable,
                 unsigned asid)
{
    unsigned rc = rmpupdate_again(spa, gpa, true, large, immutable, asid);

    if (rc) {
        bail("RMPUPDATE failed for", spa | rc);
    }
}

void make_firmware(uint64_t spa)
{
    make(spa, 0, false, true, 0);
}

void make_shared(uint64_t spa)
{
    unsigned rc = rmpupdate_again(spa, 0, false, false, false, 0);

    if (rc) {
        bail("RMPUPDATE to shared failed for", spa | rc);
    }
}

/* Firmware, Pre-Guest ... back to Hypervisor */
void reclaim(uint64_t spa)
{
    unsigned status = COMMAND(SNP_PAGE_RECLAIM, spa);

    if (status) {
        bail("SNP_PAGE_RECLAIM failed for", spa | status);
    }
    make_shared(spa);
}

void fill(uint64_t spa, int byte)
{
    memset((void *)spa, byte, K4);
}

