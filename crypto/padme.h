/*
 * padme.h: the sizes that objects may have: Padmé steps (Nikitin et al., PETS 2019, "Reducing Metadata Leakage from
 * Encrypted Files and Communication with PURBs", section 4), never below PADME_FLOOR.  Uses nothing.
 */
#ifndef SNUGFS_PADME_H
#define SNUGFS_PADME_H

#include <stdint.h>

#define PADME_FLOOR 4096

/* The smallest permitted object size that holds len bytes; len at most 2^62. */
uint64_t padme_size(uint64_t len);

#endif
