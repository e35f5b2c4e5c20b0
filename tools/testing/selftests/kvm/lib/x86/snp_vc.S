/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Entry point of #VC for SEV-SNP guests.
 *
 * A #VC may hit on any instruction, e.g. on a load from a page that is not
 * validated, while the code that handles it is ordinary C.  Hence the entry has
 * to preserve what compiled code expects no one to touch: it runs on an IST
 * stack to stay clear of the red zone, and it saves the SSE registers.
 */
#include "snp.h"

	.text
	.globl snp_vc_entry
	.type snp_vc_entry, @function
snp_vc_entry:
	/* The CPU has pushed an error code, complete struct ex_regs. */
	pushq $29

	push %r15
	push %r14
	push %r13
	push %r12
	push %r11
	push %r10
	push %r9
	push %r8

	push %rdi
	push %rsi
	push %rbp
	push %rbx
	push %rdx
	push %rcx
	push %rax

	/*
	 * A #VC in the handler starts over at the top of the IST stack.  Move
	 * the top below this frame so that one may nest, e.g. to report a
	 * failed assertion.
	 */
	mov %gs:SNP_PERCPU_IST1, %rax
	subq $SNP_VC_STACK_SIZE, %gs:SNP_PERCPU_IST1

	/*
	 * 22 quadwords since the aligned top of the stack, i.e. still aligned.  The
	 * old top goes above the SSE registers: a vCPU that is given a new VMSA
	 * while it is in here starts over with a whole stack, hence what was
	 * subtracted cannot simply be added again.
	 */
	mov %rsp, %rdi
	sub $(512 + 16), %rsp
	mov %rax, 512(%rsp)
	fxsave64 (%rsp)

	cld
	call snp_handle_vc

	fxrstor64 (%rsp)
	mov 512(%rsp), %rax
	add $(512 + 16), %rsp
	mov %rax, %gs:SNP_PERCPU_IST1

	pop %rax
	pop %rcx
	pop %rdx
	pop %rbx
	pop %rbp
	pop %rsi
	pop %rdi
	pop %r8
	pop %r9
	pop %r10
	pop %r11
	pop %r12
	pop %r13
	pop %r14
	pop %r15

	/* Discard vector and error code. */
	add $16, %rsp
	iretq
	.size snp_vc_entry, . - snp_vc_entry

	.section .note.GNU-stack, "", %progbits
