/*
 * The emulated SEV-SNP host: the state that processors, firmware and IOMMU
 * share, and the object that switches it on (-object x-snp-host).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef I386_SNP_HOST_H
#define I386_SNP_HOST_H

#include "rmp.h"
#include "qom/object.h"

#define TYPE_SNP_HOST "x-snp-host"
OBJECT_DECLARE_SIMPLE_TYPE(SnpHost, SNP_HOST)

/*
 * snp_host_get(): the machine's, or NULL.  Who is part of the machine asks when
 * it is made, and keeps the answer.
 *
 * snp_host_rmp(): the RMP once some processor has set SYSCFG.SNP_EN
 * (SYSCFG-09: Linux snp_shutdown()), else NULL; NULL as well without an SNP
 * host.
 * Safe to call from any thread.  The result is valid until system reset, which
 * frees parts of it: fine for a vCPU and for whoever holds the BQL, but a reset
 * does not wait for an IOThread's DMA.
 */
#ifdef CONFIG_TCG
SnpHost *snp_host_get(void);
Rmp *snp_host_rmp(SnpHost *s);
/*
 * DMA-01 (Linux amd_iommu_types.h), DMA-04 (strict choice): only to and from
 * the hypervisor's pages
 */
bool snp_host_dma_allowed(Rmp *rmp, uint64_t spa);
/* Where DMA to @spa is to go */
uint64_t snp_host_dma(SnpHost *s, uint64_t spa, bool write);
#else
static inline SnpHost *snp_host_get(void)
{
    return NULL;
}

static inline Rmp *snp_host_rmp(SnpHost *s)
{
    return NULL;
}

static inline bool snp_host_dma_allowed(Rmp *rmp, uint64_t spa)
{
    return true;
}

static inline uint64_t snp_host_dma(SnpHost *s, uint64_t spa, bool write)
{
    return spa;
}
#endif

/*
 * pc.c: choose the RMP's place and take it out of the RAM that the BIOS hands
 * out.  @above_4g_end is 0 if there is no RAM above 4 GiB.
 */
#ifdef CONFIG_TCG
void snp_host_reserve_rmp(SnpHost *s, uint64_t below_4g_size,
                          uint64_t above_4g_end, Error **errp);
#else
#define snp_host_reserve_rmp(s, below_4g_size, above_4g_end, errp)
#endif

/* CPUID 8000_000A EBX (CPUID-04: APM3 E, 8000_001F) */
#define SNP_SVM_ASIDS       0x8000

/* CPUID-01, CPUID-02 (APM3 E, 8000_001F): C-bit position, ASID limits. */
unsigned snp_host_cbit(void);
unsigned snp_host_max_asid(SnpHost *s); /* ECX: encrypted guests */
unsigned snp_host_min_sev_asid(SnpHost *s); /* EDX: SNP, ES use 1..EDX-1 */

/*
 * FWCMD-01 (ABI SNP_INIT): does every processor satisfy what SNP_INIT with
 * INIT_RMP asks for (SYSCFG.SMEE, SNP_EN, VMPL_EN, MFDM; VM_HSAVE_PA = 0;
 * HWCR.SmmLock)?  Otherwise *@why is what is missing, for the trace.
 */
bool snp_host_ready_for_init(const char **why);

/*
 * A processor sets SYSCFG.SNP_EN with these RMP_BASE and RMP_END: the RMP, or
 * NULL if they describe no table in RAM or not the one already in use.
 */
Rmp *snp_host_enable(SnpHost *s, uint64_t rmp_base, uint64_t rmp_end,
                     uint64_t rmp_cfg);

/*
 * SNP_SHUTDOWN_EX(x86_snp_shutdown): clears SNP_EN everywhere (SYSCFG-09: Linux
 * snp_shutdown())
 */
void snp_host_disable(SnpHost *s);

/*
 * FWCMD-07 (ABI SNP_DF_FLUSH): WBINVD bookkeeping.  snp_host_mark_cores() asks
 * every processor for a WBINVD; snp_host_wbinvd_pending() tells whether one has
 * not done it yet.  snp_host_wbinvd() is called by WBINVD itself.
 */
void snp_host_mark_cores(SnpHost *s);
bool snp_host_wbinvd_pending(SnpHost *s);
void snp_host_wbinvd(SnpHost *s, unsigned cpu_index);

/*
 * An RMP change took rights from these pages, or @size 0 from any: no processor
 * may use an older translation.
 * On a vCPU thread this is complete on all processors before the next
 * instruction (RMPUPDATE-29, strict choice): the instructions end their
 * translation block, and a firmware command is a write to a device, which is a
 * block's last.
 */
void snp_host_flush_tlbs(SnpHost *s, uint64_t spa, uint64_t size);

/*
 * ENC-01, ENC-02 (APM2 15.34): memory belongs to a key, and what was written
 * under one key is garbage under another.  @from and @to are ASIDs, 0 for the
 * host's key.  Plaintext is kept under the key that wrote it; a page that goes
 * back to its old key reads as it did.  Not cryptography.
 */
void snp_host_change_key(SnpHost *s, uint64_t spa, uint64_t size,
                         unsigned from, unsigned to);

/*
 * RMPUPDATE changes keys under Rmp.lock (Rmp.rekey), where no translated code
 * can be dropped: generating it takes locks in the other order.  This does so
 * afterwards (XMC-01: APM2 7.6.1), and marks the memory dirty.
 */
void snp_host_contents_changed(uint64_t spa, uint64_t size);

/*
 * Where @spa is to be read by who has another key than the page is under:
 * ciphertext, and with @reader's key applied to it (HOST-02, ACC-06: APM2
 * 15.36.10; ENC-01: APM2 15.34).  The result is an address for the TLB.  The
 * page has to be read only there.
 */
uint64_t snp_host_ciphertext(uint64_t spa, unsigned reader);

/*
 * ENC-04 (APM2 15.34): a SEV guest's pages are found in no table, so each page
 * has a tag: whose plaintext memory holds, 0 for the host's and where the RMP
 * knows better.  A page is under the key of who wrote to it last, which changes
 * nothing for anybody who reads it: pads commute.
 */
/* The key of a page, by the RMP (or NULL) and its tag */
unsigned snp_host_key(SnpHost *s, Rmp *rmp, uint64_t spa);
/* @key is about to write there */
void snp_host_take_page(SnpHost *s, uint64_t spa, unsigned key);
/* A key that nobody has any more, 0 for all: what is left is ciphertext */
void snp_host_drop_key(SnpHost *s, unsigned asid);
/* @buf is memory at @spa, within a page; make it what @reader sees */
void snp_host_see(SnpHost *s, void *buf, uint64_t spa, unsigned len,
                  unsigned reader);

/*
 * Host address of the 4 KB page of RAM at @spa, or NULL if that is no RAM.
 * Reading through it is always fine; to write, use address_space_write(), so
 * that translated code and dirty logs are kept right.
 */
void *snp_host_page(uint64_t spa);

/*
 * RMPUPDATE-13 (APM2 15.36.12), RMPUPDATE-16 (Linux rmpupdate()), PSMASH-03
 * (APM3 PSMASH): another processor has the entry at @spa at the moment.  By
 * chance, one time in contention=, and not more than three times in a row.
 */
bool snp_host_contended(SnpHost *s, uint64_t spa, bool may_overlap, int *rc);

/*
 * VMRUN-29 (strict choice): the firmware binds an ASID to a guest, or takes it
 * back.  Tells whether there is one.
 */
void snp_host_set_asid(SnpHost *s, unsigned asid, bool active);
bool snp_host_asid_active(SnpHost *s, unsigned asid);

/*
 * ENC-01 (APM2 15.34): what is left of guests is ciphertext, since the pages
 * change hands or the keys go
 */
void snp_host_forget_keys(SnpHost *s);

/*
 * RST-01 (APM2 15.36.22): the size of the BIOS's segments as a power of 2; 0:
 * not offered
 */
unsigned snp_host_segment_shift(SnpHost *s);

/*
 * FWCMD-13 (ABI SNP_LAUNCH_UPDATE): which bits of a CPUID register (0 to 3:
 * EAX, EBX, ECX, EDX) a guest may be told of: of feature bits those that every
 * processor has
 */
uint32_t snp_host_cpuid(uint32_t eax_in, uint32_t ecx_in, unsigned reg);

/*
 * SNP_ACTIVATE, ACTIVATE: what was under this ASID's key is garbage now, to its
 * new guest as well if the RMP may have pages of the last one (ENC-01: APM2
 * 15.34)
 */
void snp_host_new_key(SnpHost *s, unsigned asid, bool may_have_pages);

#endif
