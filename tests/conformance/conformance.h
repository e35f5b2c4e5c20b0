/*
 * The conformance image: a hypervisor and its guest, rule by rule.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_CONFORMANCE_H
#define TESTS_CONFORMANCE_H

#include "snp.h"

/* ---- main.c: results ---- */

/* One check of a rule of emulator/README.md; a line of KTAP tells of all */
void check(const char *rule, uint64_t got, uint64_t want, const char *what);

/* ---- main.c: memory ---- */

#define NONE            (~0ull)         /* struct fault: no exception */
#define PF              14
#define GP              13
#define UD              6
#define VC              29

#define PAGE(n)         (AREA + (n) * K4)
#define EVENT_LOG       PAGE(1)
#define STORE           PAGE(2)
#define DEVTAB          PAGE(3)
#define IOMMU_COMMANDS  PAGE(4)
#define HV_FIXED        PAGE(5)
#define CTX             PAGE(6)
#define HSAVE(cpu)      PAGE(8 + (cpu))
#define MAILBOX(vcpu)   PAGE(16 + (vcpu))
#define VMCB(vcpu)      PAGE(24 + (vcpu))
#define VMSA(vcpu)      PAGE(32 + (vcpu))

/* regions of AREA, 2 MB each */
#define REGION(n)       (AREA + (n) * M2)
#define GUEST_IMAGE     REGION(1)       /* what the guest runs: a copy of us */
#define POOL            REGION(2)
#define BIG_GUEST       REGION(3)
#define BIG             REGION(4)
#define TABLES          REGION(5)
#define BIG2            REGION(6)
#define UNCOVERED       PSP_BAR         /* beyond what the RMP covers */

#define ASID            5
#define OTHER_ASID      6

/* SNP_EN, SNP_INIT and all on both processors */
void start_snp(void);
/* The plan, and a line for each rule that was checked */
void report(void);

/* A page of the host's, never handed out before */
uint64_t fresh(void);

/* One of insn.S on an address: how it went */
struct fault touch(const void *code, uint64_t addr);
/* RMPUPDATE as it is; PSMASH */
unsigned update(uint64_t spa, const struct rmp_state *state);
unsigned psmash(uint64_t spa);
/* RMPUPDATE to shared: return code */
unsigned release(uint64_t spa, bool large);
bool wrmsr_faults(uint32_t msr, uint64_t value);
bool rdmsr_faults(uint32_t msr, uint64_t *value);
void flush_tlb(void);

/* ---- guest.c ---- */

#define CBIT            (1ull << 51)
/* 48 physical address bits, of which the encryption takes 5 */
#define SPA_BITS        43
/* SMBASE is 30000h after reset */
#define SMM_ENTRY       0x38000
/* Windows on AREA in the guest's address space, beside the one to one */
#define SHARED(gpa)     ((gpa) + 0x40000000ull)
#define LARGE(gpa)      ((gpa) + 0x80000000ull)

#define EXIT_VMGEXIT    0x403
#define EXIT_NPF        0x400
#define EXIT_INVALID    (~0ull)

#define NPF_RMP         (1ull << 31)
#define NPF_FINAL       (1ull << 32)
#define NPF_PT          (1ull << 33)
#define NPF_ENC         (1ull << 34)
#define NPF_SIZEM       (1ull << 35)
#define NPF_VMPL        (1ull << 36)

/* VMCB control area and VMSA, by offset (APM tables B-1 and B-4) */
enum {
    V_EXCEPTIONS = 0x08, V_MISC1 = 0x0c, V_MISC2 = 0x10, V_CR = 0x00,
    V_IOPM = 0x40, V_MSRPM = 0x48, V_TSC_OFFSET = 0x50, V_ASID = 0x58,
    V_TLB = 0x5c, V_INT_CTL = 0x60, V_INT_STATE = 0x68, V_EXIT = 0x70,
    V_INFO1 = 0x78, V_INFO2 = 0x80, V_INTINFO = 0x88, V_NP = 0x90,
    V_GHCB = 0xa0, V_EVENTINJ = 0xa8, V_NCR3 = 0xb0, V_LBR = 0xb8,
    V_CLEAN = 0xc0, V_NRIP = 0xc8, V_BYTES = 0xd0, V_VMSA = 0x108, V_SAVE = 0x400,
};

enum {
    S_ES = 0x00, S_CS = 0x10, S_SS = 0x20, S_DS = 0x30, S_GDTR = 0x60,
    S_FS_BASE = 0x48, S_IDTR = 0x80, S_TR = 0x90, S_VMPL = 0xca,
    S_CPL = 0xcb, S_EFER = 0xd0,
    S_CR4 = 0x148, S_CR3 = 0x150, S_CR0 = 0x158, S_DR7 = 0x160, S_DR6 = 0x168,
    S_RFLAGS = 0x170, S_RIP = 0x178, S_RSP = 0x1d8, S_RAX = 0x1f8,
    S_CR2 = 0x240, S_PAT = 0x268, S_RCX = 0x308, S_RBX = 0x318, S_RDI = 0x338,
    S_INFO1 = 0x390, S_INFO2 = 0x398, S_INTINFO = 0x3a0, S_EXIT = 0x3c0,
    S_FEATURES = 0x3b0, S_PCPU = 0x3d8, S_XCR0 = 0x3e8, S_MXCSR = 0x408,
    S_FCW = 0x410,
};

#define NP_NPT          1
#define NP_SEV          2
#define NP_ES           4

/* How VMRUN ended; the VMCB has the rest */
struct exit {
    uint64_t code, info1, info2;
    uint64_t fault;             /* vector of VMRUN's own fault, or NONE */
};

/* Launch the guest: its image and page tables, and the nested page tables */
void guest_launch(void);
/* Load its image anew, after it wrecked itself */
void guest_load(void);
/* Leave the guest no way to what is the hypervisor's; permission maps for it */
void guest_confine(void);
uint64_t guest_all_ones(void);
/* A fresh VMCB for @vcpu, its VMSA's image in @vmsa (host memory, plain) */
void vmcb_init(unsigned vcpu);
void vmsa_fill(uint8_t *vmsa, unsigned vcpu, unsigned vmpl);
/* Make @spa a VMSA with these contents by SNP_LAUNCH_UPDATE */
void vmsa_make(uint64_t spa, const uint8_t *vmsa);
/* All of it for a vCPU at @vmpl; and run the guest to where it waits for orders */
void vcpu_prepare(unsigned vcpu, unsigned vmpl);
void vcpu_start(unsigned vcpu, unsigned vmpl);
/* VMRUN on this processor */
struct exit vmrun(uint64_t vmcb);
/*
 * The guest runs code of insn.S under attempt().  If the exit is not the
 * VMGEXIT that says it is done, vcpu_resume() goes on, vcpu_start() gives up.
 */
struct exit vcpu_call(unsigned vcpu, struct regs *r, const void *code);
struct exit vcpu_resume(unsigned vcpu, struct regs *r);
bool vcpu_done(unsigned vcpu, const struct exit *e);
/* In two halves, for another processor to run it */
void vcpu_order(unsigned vcpu, const struct regs *r, const void *code);
/* ... and after that @code, with the same registers, without an exit between */
void vcpu_then(unsigned vcpu, const void *code);

/* Nested page table: a 4 KB leaf; 2 MB leaf or table for a region of AREA */
void npt_map(uint64_t gpa, uint64_t spa, uint64_t flags);
void npt_large(unsigned region, bool large);
/* The page that holds the leaves for @gpa */
uint64_t nested_table(uint64_t gpa);
/* A page of the guest's, validated by it */
uint64_t guest_page(void);
/* The guest's own page table entry for a private GVA in AREA: its GVA */
uint64_t guest_pte(uint64_t gva);

/*
 * access.c: a guest without SEV runs the host's own code on the host's page
 * tables, with RSI and RDI as given.  EXITINFO1 of a nested page fault, or the
 * exit code, VMMCALL if all went well.
 */
uint64_t plain_guest(const void *code, uint64_t rsi, uint64_t *info2);
/* ... and as what it runs */
extern struct plain {
    unsigned vcpu;
    uint32_t asid;
    uint8_t tlb;                /* TLB_CONTROL */
} plain;

/*
 * smp.c: VMRUN on the processor that calls; the guest of vCPU 1 counts at @gva on
 * processor 1 until it is stopped
 */
void run_guest(uint64_t vmcb);
void start_guest(uint64_t gva);
void stop_guest(void);

/* ---- the rules ---- */

void rules_before_snp(void);
void rules_host(void);
void rules_vmrun(void);
void rules_guest(void);
void rules_smp(void);
void rules_tlb(void);
void rules_shutdown(void);

/* What main() runs: all.c here, fuzz.c in tests/fuzz */
void tests(void);

#define INSN(name)      extern const char i_##name[]
INSN(load8); INSN(load1); INSN(store8); INSN(store4); INSN(store2);
INSN(store1); INSN(store16); INSN(xchg); INSN(add); INSN(lock_add);
INSN(lock_bts); INSN(lock_xadd); INSN(cmpxchg); INSN(cmpxchg8b);
INSN(cmpxchg16b); INSN(sgdt); INSN(fxsave); INSN(setc); INSN(stos);
INSN(movs); INSN(exec); INSN(invlpg); INSN(invlpga); INSN(flush); INSN(vmrun);
INSN(smi_vmrun); INSN(vmload); INSN(vmsave); INSN(stgi); INSN(vmmcall); INSN(vmgexit); INSN(vmgexit_f2);
INSN(rmpupdate); INSN(rmpadjust); INSN(psmash); INSN(pvalidate);
INSN(rmpquery); INSN(rmpread); INSN(invlpgb); INSN(tlbsync);
INSN(lock_rmpupdate); INSN(lock_psmash); INSN(lock_pvalidate);
INSN(lock_rmpadjust); INSN(cpuid); INSN(inb); INSN(outb); INSN(hlt);
INSN(pause); INSN(wbinvd); INSN(rdtsc); INSN(rdpmc); INSN(invd);
INSN(monitor); INSN(mwait); INSN(mov_dr7); INSN(to_cr0); INSN(to_cr3);
INSN(to_cr4); INSN(to_cr8); INSN(rdmsr); INSN(wrmsr); INSN(nop); INSN(int3);
INSN(ud2);
INSN(sti); INSN(spin); INSN(user); INSN(pvalidate32); INSN(rmpadjust32);
INSN(swap); INSN(soil); INSN(work); INSN(outlive);

#endif
