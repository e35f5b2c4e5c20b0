/*
 * A guest of plain SVM.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "machine.h"

void plain_save(uint64_t s, const void *code, uint64_t rsp)
{
    struct { uint16_t limit; uint64_t base; } __attribute__((packed)) t;

    F16(s, 0x10) = SEL_CODE;
    F16(s, 0x12) = 0xa9b;
    F32(s, 0x14) = ~0u;
    F16(s, 0x20) = SEL_DATA;
    F16(s, 0x22) = 0xc93;
    F32(s, 0x24) = ~0u;
    memcpy((void *)s, (void *)(s + 0x20), 16);
    memcpy((void *)(s + 0x30), (void *)(s + 0x20), 16);
    asm volatile("sgdt %0" : "=m"(t));
    F32(s, 0x64) = t.limit;
    F64(s, 0x68) = t.base;
    asm volatile("sidt %0" : "=m"(t));
    F32(s, 0x84) = t.limit;
    F64(s, 0x88) = t.base;
    F64(s, 0xd0) = 0x1d00;
    F64(s, 0x148) = 0x220;
    F64(s, 0x150) = (uint64_t)pml4;
    F64(s, 0x158) = 0x80010033;
    F64(s, 0x160) = 0x400;
    F64(s, 0x168) = 0xffff0ff0;
    F64(s, 0x170) = 2;
    F64(s, 0x178) = (uint64_t)code;
    F64(s, 0x1d8) = rsp;
    F64(s, 0x268) = 0x0007040600070406;
}
