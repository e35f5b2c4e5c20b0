/*
 * From the reset vector to 64-bit C, without a BIOS.
 *
 * The image is a ROM of 128 KB below 4 GB.  The code in .reset, in its last
 * page, runs there in real mode, goes to protected mode, copies the whole image
 * to its link address at 1 MB and jumps to it.  There, all of 4 GB is mapped
 * one to one with 2 MB pages, and main() is called.
 *
 * A multiboot loader (GRUB's `multiboot`) can load the same file: then it is at
 * 1 MB already.
 *
 * Other processors come by INIT and SIPI through ap_start, which is copied
 * below 1 MB, and call ap_main().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define ROM_SIZE        0x20000
#define ROM             (0x100000000 - ROM_SIZE)
#define LOAD            0x100000
#define STACK           0x4000          /* STACK_SIZE in machine.h */

        .section .reset, "ax"
        .code16
real:
        cli
        cld
        lgdtl   %cs:gdtr_low
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $8, $(ROM - LOAD + prot)

        .code32
prot:
        movw    $16, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $ROM, %esi
        movl    $LOAD, %edi
        movl    $(ROM_SIZE / 4), %ecx
        rep movsl
        ljmpl   $8, $loaded

        .p2align 3
boot_gdt:
        .quad   0
        .quad   0x00cf9b000000ffff      /* 8: code, 32 bits */
        .quad   0x00cf93000000ffff      /* 16: data */
        .quad   0x00af9b000000ffff      /* 24: code, 64 bits */
        /* CS is FFFF0000h: the last 64 KB of the ROM */
        .set    gdtr_low, boot_gdtr - (LOAD + ROM_SIZE - 0x10000)
boot_gdtr:
        .word   31
        .long   ROM - LOAD + boot_gdt

        .section .resetvector, "ax"
        .code16
        .byte   0xe9                    /* jmp real */
        .word   real - (LOAD + ROM_SIZE - 0x10000) - 0xfff3
        .balign 16, 0

        .section .multiboot, "a"
        .p2align 2
multiboot:
        .long   0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        .long   multiboot, LOAD, LOAD + ROM_SIZE, __bss_end, by_loader

        .text
        .code32
by_loader:
        cli
        cld
        lgdt    loaded_gdtr
        ljmpl   $8, $1f
1:      movw    $16, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
loaded:
        movl    $__bss_start, %edi
        movl    $__bss_end, %ecx
        subl    %edi, %ecx
        xorl    %eax, %eax
        rep stosb

        movl    $pml4, %edi
        movl    $pdpt + 7, (%edi)
        movl    $pdpt, %edi
        movl    $pd + 7, %eax
        movl    $4, %ecx
1:      movl    %eax, (%edi)
        addl    $8, %edi
        addl    $0x1000, %eax
        loop    1b
        movl    $pd, %edi
        movl    $0x87, %eax
        movl    $2048, %ecx
1:      movl    %eax, (%edi)
        addl    $8, %edi
        addl    $0x200000, %eax
        loop    1b

go64:
        movl    $pml4, %eax
        movl    %eax, %cr3
        movl    %cr4, %eax
        orl     $0x220, %eax            /* OSFXSR, PAE */
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $0x1900, %eax           /* SVME, NXE, LME */
        wrmsr
        movl    %cr0, %eax
        andl    $0x9fffffff, %eax       /* CD, NW */
        orl     $0x80010000, %eax       /* PG, WP */
        movl    %eax, %cr0
        ljmpl   $24, $long64

        .p2align 3
loaded_gdtr:
        .word   31
        .long   boot_gdt

        .code64
long64:
        movl    $1, %eax
        cpuid
        shrl    $24, %ebx
        movl    %ebx, %edi
        incl    %ebx
        imull   $STACK, %ebx, %ebx
        leaq    stacks(%rbx), %rsp
        cmpl    $4, %edi                /* CPUS in machine.h */
        jae     2f
        testl   %edi, %edi
        jnz     1f
        call    main
        jmp     2f
1:      call    ap_main
2:      hlt
        jmp     2b

        .weak   ap_main
ap_main:
        ret

/* At 8000h, CS 0800h */
        .globl  ap_start, ap_end
        .code16
ap_start:
        cli
        cld
        lgdtl   %cs:ap_gdtr - ap_start
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $8, $ap32
        .p2align 3
ap_gdtr:
        .word   31
        .long   boot_gdt
ap_end:

        .code32
ap32:
        movw    $16, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        jmp     go64

        .code64
/* Exception n: hand struct frame of machine.h to exception() */
        .altmacro
        .macro  stub n
stub_\n:
        .if (\n != 8) && ((\n < 10) || (\n > 14)) && (\n != 17) && (\n != 29) && (\n != 30)
        pushq   $0
        .endif
        pushq   $\n
        jmp     common
        .endm
        .macro  entry n
        .quad   stub_\n
        .endm

        .set    i, 0
        .rept   32
        stub    %i
        .set    i, i + 1
        .endr
common:
        pushq   %rax
        pushq   %rbx
        pushq   %rcx
        pushq   %rdx
        pushq   %rsi
        pushq   %rdi
        pushq   %rbp
        pushq   %r8
        pushq   %r9
        pushq   %r10
        pushq   %r11
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        movq    %rsp, %rdi
        cld
        call    exception
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %r11
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rbp
        popq    %rdi
        popq    %rsi
        popq    %rdx
        popq    %rcx
        popq    %rbx
        popq    %rax
        addq    $16, %rsp
        iretq

/*
 * void attempt(struct regs *r, const void *code): load the registers from *r,
 * call the code, and store them back with the flags.  An exception in it ends
 * it: exception() fills r->fault and returns to attempt_end.
 */
        .globl  attempt, attempt_end
attempt:
        pushq   %rbx
        pushq   %rbp
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        pushq   %rdi
        movq    %rsp, %rax
        andq    $-STACK, %rax
        movq    %rsp, (%rax)            /* struct cpu: recover */
        movq    $-1, 64(%rdi)           /* struct regs: fault.vector */
        movq    %rsi, %rbp
        movq    0(%rdi), %rax
        movq    8(%rdi), %rbx
        movq    16(%rdi), %rcx
        movq    24(%rdi), %rdx
        movq    32(%rdi), %rsi
        movq    48(%rdi), %r8
        movq    40(%rdi), %rdi
        call    *%rbp
attempt_end:
        pushfq
        pushq   %rdi
        movq    16(%rsp), %rdi
        movq    %rax, 0(%rdi)
        movq    %rbx, 8(%rdi)
        movq    %rcx, 16(%rdi)
        movq    %rdx, 24(%rdi)
        movq    %rsi, 32(%rdi)
        popq    40(%rdi)
        movq    %r8, 48(%rdi)
        popq    56(%rdi)
        movq    %rsp, %rax
        andq    $-STACK, %rax
        movq    $0, (%rax)
        popq    %rdi
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbp
        popq    %rbx
        cld
        ret

/* Where code at CPL 3 ends */
        .globl  user_end
user_end:
        ud2

        .data
        .globl  exception_entry
        .p2align 3
exception_entry:
        .set    i, 0
        .rept   32
        entry   %i
        .set    i, i + 1
        .endr

        .bss
        .globl  pml4, pd, stacks
        .balign 0x4000
stacks: .skip   4 * STACK
pml4:   .skip   4096
pdpt:   .skip   4096
pd:     .skip   4 * 4096
