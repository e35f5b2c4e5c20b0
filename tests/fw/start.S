/*
 * From the reset vector to 64-bit C, without a BIOS.
 *
 * The image is a ROM of 64 KB below 4 GB, also seen at F0000h.  The code in
 * .reset runs there in real mode, goes to protected mode, copies the whole
 * image to its link address at 1 MB and jumps to it.  There, all of 4 GB is
 * mapped one to one with 2 MB pages, and main() is called.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define ROM             0xffff0000
#define ROM_SIZE        0x10000
#define LOAD            0x100000

        .section .reset, "ax"
        .code16
real:
        cli
        cld
        lgdtl   %cs:gdtr_low
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $8, $(ROM + prot - real)

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
        movl    $__bss_start, %edi
        movl    $__bss_end, %ecx
        subl    %edi, %ecx
        xorl    %eax, %eax
        rep stosb
        ljmpl   $8, $paged

        .p2align 3
gdt:
        .quad   0
        .quad   0x00cf9b000000ffff      /* 8: code, 32 bits */
        .quad   0x00cf93000000ffff      /* 16: data */
        .quad   0x00af9b000000ffff      /* 24: code, 64 bits */
        .set    gdtr_low, gdtr - real
gdtr:
        .word   31
        .long   ROM + gdt - real

        .section .resetvector, "ax"
        .code16
        .byte   0xe9                    /* jmp real, 64 KB below */
        .word   0x10000 - 0xfff3
        .balign 16, 0

        .text
        .code32
paged:
        movl    $pml4, %edi
        movl    $pdpt + 3, (%edi)
        movl    $pdpt, %edi
        movl    $pd + 3, %eax
        movl    $4, %ecx
1:      movl    %eax, (%edi)
        addl    $8, %edi
        addl    $0x1000, %eax
        loop    1b
        movl    $pd, %edi
        movl    $0x83, %eax
        movl    $2048, %ecx
1:      movl    %eax, (%edi)
        addl    $8, %edi
        addl    $0x200000, %eax
        loop    1b

        movl    $pml4, %eax
        movl    %eax, %cr3
        movl    %cr4, %eax
        orl     $0x20, %eax             /* PAE */
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $0x1100, %eax           /* LME, SVME */
        wrmsr
        movl    %cr0, %eax
        orl     $0x80010000, %eax       /* PG, WP */
        movl    %eax, %cr0
        ljmpl   $24, $long64

        .code64
long64:
        movl    $stack_top, %esp
        call    main
1:      hlt
        jmp     1b

/* Exception n: hand the vector and the frame to unexpected() */
        .altmacro
        .macro  stub n
stub_\n:
        .if (\n != 8) && ((\n < 10) || (\n > 14)) && (\n != 17)
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
        movq    %rsp, %rdi
        call    unexpected
1:      hlt
        jmp     1b

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
        .globl  pd
        .balign 4096
pml4:   .skip   4096
pdpt:   .skip   4096
pd:     .skip   4 * 4096
        .skip   16384
stack_top:
