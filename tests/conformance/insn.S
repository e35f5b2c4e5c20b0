/*
 * Instructions under test, each to be called by attempt().  Registers are
 * those of struct regs: RSI is an address, RAX a value, unless said otherwise.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
        .macro  insn name:req, code:req
        .globl  i_\name
i_\name:
        \code
        ret
        .endm

        .text
/* loads and stores */
        insn    load8, "movq (%rsi), %rax"
        insn    load1, "movzbl (%rsi), %eax"
        insn    store8, "movq %rax, (%rsi)"
        insn    store4, "movl %eax, (%rsi)"
        insn    store2, "movw %ax, (%rsi)"
        insn    store1, "movb %al, (%rsi)"
        insn    store16, "movups %xmm0, (%rsi)"
        insn    xchg, "xchgq %rax, (%rsi)"
        insn    add, "addq $1, (%rsi)"
        insn    lock_add, "lock addq $1, (%rsi)"
        insn    lock_bts, "lock btsl $0, (%rsi)"
        insn    lock_xadd, "lock xaddl %eax, (%rsi)"
        insn    cmpxchg, "lock cmpxchgq %rdx, (%rsi)"
        insn    cmpxchg8b, "lock cmpxchg8b (%rsi)"
        insn    cmpxchg16b, "lock cmpxchg16b (%rsi)"
        insn    sgdt, "sgdt (%rsi)"
        insn    fxsave, "fxsave (%rsi)"
        insn    setc, "setc (%rsi)"
        insn    stos, "rep stosb"                 /* RDI, RCX */
        insn    movs, "rep movsb"                 /* RSI to RDI, RCX */
        insn    exec, "call *%rsi"
        insn    invlpg, "invlpg (%rsi)"
        insn    flush, "movq %cr3, %rax; movq %rax, %cr3"

/* SVM and SNP */
        insn    vmrun, "clgi; vmrun %rax; stgi"
        insn    smi_vmrun, "clgi; movl %edx, (%rsi); vmrun %rax; stgi"
        insn    invlpga, "invlpga %rax, %ecx"
        insn    vmload, "vmload %rax"
        insn    vmsave, "vmsave %rax"
        insn    stgi, "stgi"
        insn    vmmcall, "vmmcall"
        insn    vmgexit, ".byte 0xf3, 0x0f, 0x01, 0xd9"
        insn    vmgexit_f2, ".byte 0xf2, 0x0f, 0x01, 0xd9"
        insn    rmpupdate, ".byte 0xf2, 0x0f, 0x01, 0xfe"
        insn    rmpadjust, ".byte 0xf3, 0x0f, 0x01, 0xfe"
        insn    psmash, ".byte 0xf3, 0x0f, 0x01, 0xff"
        insn    pvalidate, ".byte 0xf2, 0x0f, 0x01, 0xff"
        insn    rmpquery, ".byte 0xf3, 0x0f, 0x01, 0xfd"
        insn    rmpread, ".byte 0xf2, 0x0f, 0x01, 0xfd"
        insn    invlpgb, ".byte 0x0f, 0x01, 0xfe"
        insn    tlbsync, ".byte 0x0f, 0x01, 0xff"
        insn    lock_rmpupdate, ".byte 0xf0, 0xf2, 0x0f, 0x01, 0xfe"
        insn    lock_psmash, ".byte 0xf0, 0xf3, 0x0f, 0x01, 0xff"
        insn    lock_pvalidate, ".byte 0xf0, 0xf2, 0x0f, 0x01, 0xff"
        insn    lock_rmpadjust, ".byte 0xf0, 0xf3, 0x0f, 0x01, 0xfe"

/* what a hypervisor may intercept */
        insn    cpuid, "cpuid"
        insn    inb, "inb %dx, %al"
        insn    outb, "outb %al, %dx"
        insn    hlt, "hlt"
        insn    pause, "pause"
        insn    wbinvd, "wbinvd"
        insn    rdtsc, "rdtsc"
        insn    rdpmc, "rdpmc"
        insn    invd, "invd"
        insn    monitor, "monitor"
        insn    mwait, "mwait"
        insn    mov_dr7, "movq %dr7, %rax"
        insn    to_cr0, "movq %rax, %cr0"
        insn    to_cr3, "movq %rax, %cr3"
        insn    to_cr4, "movq %rax, %cr4"
        insn    to_cr8, "movq %rax, %cr8"
        insn    rdmsr, "rdmsr"                    /* ECX, EAX, EDX */
        insn    wrmsr, "wrmsr"
        insn    nop, "nop"
        insn    int3, "int3"
        insn    ud2, "ud2"
        insn    sti, "sti; nop; cli"

/*
 * Count at (RSI), then until 8(RSI) is not zero; on another page, at (RDI),
 * RBX is added each time round.
 */
        .globl  i_spin
i_spin:
        movq    $1, (%rsi)
1:      addq    %rbx, (%rdi)
        pause
        cmpq    $0, 8(%rsi)
        je      1b
        ret

/* At CPL 3: the code at R8, which ends in a return; other registers as given */
        .globl  i_user
i_user:
        leaq    user_end, %rbp
        pushq   %rbp
        movq    %rsp, %rbp
        pushq   $35                     /* SEL_USER_DATA */
        pushq   %rbp
        pushq   $2
        pushq   $43                     /* SEL_USER_CODE */
        pushq   %r8
        iretq

/* PVALIDATE outside 64-bit mode: a far return to a 32-bit segment and back */
        .globl  i_pvalidate32, i_rmpadjust32
i_pvalidate32:
        pushq   $8
        pushq   $1f
        lretq
        .code32
1:      .byte   0xf2, 0x0f, 0x01, 0xff
        ljmpl   $24, $2f
        .code64
2:      ret
i_rmpadjust32:
        pushq   $8
        pushq   $1f
        lretq
        .code32
1:      .byte   0xf3, 0x0f, 0x01, 0xfe
        ljmpl   $24, $2f
        .code64
2:      ret

/* SWAP-04, SWAP-05: what a guest sees of the registers, into (RSI) */
        .globl  i_swap
i_swap:
        fnstcw  (%rsi)
        stmxcsr 8(%rsi)
        movq    %xmm0, 16(%rsi)
        movq    %cr2, %rax
        movq    %rax, 24(%rsi)
        movq    %dr6, %rax
        movq    %rax, 32(%rsi)
        ret
/* and puts there: XMM0, ES..., CR2, RBX and R8..R15 from RAX */
        .globl  i_soil
i_soil:
        movq    %rax, %xmm0
        movq    %rax, %cr2
        ret

/* scripts/bench-guest: arithmetic, loads, stores and branches on (RSI) */
        .globl  i_work
i_work:
        movq    $0x12345, (%rsi)
        movl    $1000000, %ecx
        xorl    %eax, %eax
1:      addq    (%rsi), %rax
        rolq    $7, %rax
        movq    %rax, 8(%rsi)
        testb   $16, %al
        jz      2f
        xorq    $0x55, %rax
2:      decl    %ecx
        jnz     1b
        ret

/*
 * As i_spin, for a guest that outlives its platform: WBINVD, so that the
 * firmware may shut down, and PVALIDATE of RAX at the end.
 */
        .globl  i_outlive
i_outlive:
        movq    $1, (%rsi)
1:      addq    %rbx, (%rdi)
        wbinvd
        cmpq    $0, 8(%rsi)
        je      1b
        .byte   0xf2, 0x0f, 0x01, 0xff
        ret
