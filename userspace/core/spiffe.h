#pragma once

#include <string_view>

#include "core/result.h"

namespace sluice {

// Whether it is a SPIFFE ID with a path: spiffe://TRUST_DOMAIN/ns/NS/sa/SA or any other. The error says what is wrong.
// https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md
Status check_spiffe_id(std::string_view id);
// "cluster.local" of "spiffe://cluster.local/ns/a/sa/b"; of an ID that check_spiffe_id() has accepted.
std::string_view trust_domain_of(std::string_view id);

}  // namespace sluice
