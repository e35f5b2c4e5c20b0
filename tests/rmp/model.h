/*
 * A second RMP, written from the rules without a look at the first: one
 * struct per 4 KB page with a field per fact, no bits, no count, no lock, and
 * loops where the rules say "any page of the region".
 *
 * Arguments and results are those of the functions in rmp.h of the same name.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_RMP_MODEL_H
#define TESTS_RMP_MODEL_H

#include "rmp.h"

#define MODEL_REGIONS   3
#define MODEL_PAGES     (MODEL_REGIONS * 512)
#define MODEL_MAX_ASID  509

typedef struct ModelPage {
    bool assigned;
    bool large;             /* only at the base of a 2 MB entry */
    bool immutable;
    bool vmsa;
    bool validated;
    bool table;
    bool in_use;
    unsigned asid;
    uint64_t gpa;
    uint8_t perms[4];
} ModelPage;

typedef struct Model {
    ModelPage page[MODEL_PAGES];
    uint64_t base, end;
    bool erratum;
    unsigned touched, touched_end;      /* pages changed since last asked */
} Model;

void model_reset(Model *m, uint64_t base, uint64_t end, bool erratum);

/* How the page's entry reads in memory */
RmpEntry model_raw(const Model *m, unsigned page);

int model_update(Model *m, uint64_t spa, const RmpState *st);
int model_smash(Model *m, uint64_t spa);
int model_read(const Model *m, uint64_t spa, RmpState *st);
int model_pvalidate_operands(uint64_t gva, bool size_2m);
int model_adjust_operands(uint64_t gva, bool size_2m, uint64_t rdx,
                          unsigned vmpl);
int model_query_operands(uint64_t target, unsigned vmpl);
int model_pvalidate(Model *m, uint64_t spa, uint64_t gpa, uint64_t leaf,
                    unsigned asid, bool size_2m, bool validate,
                    RmpVerdict *verdict, bool *unchanged);
int model_adjust(Model *m, uint64_t spa, uint64_t gpa, uint64_t leaf,
                 unsigned asid, bool size_2m, uint64_t rdx, unsigned vmpl,
                 RmpVerdict *verdict);
int model_query(const Model *m, uint64_t spa, uint64_t gpa, uint64_t leaf,
                unsigned asid, unsigned target, RmpVerdict *verdict,
                bool *size_2m, uint8_t *perms, bool *vmsa);
bool model_hv_owned(const Model *m, uint64_t spa, uint64_t leaf);
RmpVerdict model_check_private(const Model *m, uint64_t spa, uint64_t gpa,
                               uint64_t leaf, unsigned asid, unsigned vmpl,
                               uint8_t *perms);
const char *model_vmsa_refused(const Model *m, uint64_t spa, unsigned asid,
                               bool snp_active);
bool model_use_begin(Model *m, uint64_t spa);
void model_use_end(Model *m, uint64_t spa);
RmpPageState model_page_state(const Model *m, uint64_t spa, bool *size_2m);
void model_fw_init(Model *m);
bool model_fw_move(Model *m, uint64_t spa, RmpPageState from,
                   RmpPageState to);
int model_fw_reclaim(Model *m, uint64_t spa, bool size_2m);
int model_fw_launch_update(Model *m, uint64_t spa, unsigned asid, bool size_2m,
                           bool vmsa, const uint8_t perms[3]);
uint64_t model_asid_pages(const Model *m, unsigned asid);

#endif
