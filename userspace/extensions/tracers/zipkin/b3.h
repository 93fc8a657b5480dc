#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "http/header_map.h"

// B3 propagation: which span a request is a part of, in x-b3-* or in the one header b3.
// https://github.com/openzipkin/b3-propagation
namespace sluice::extensions::zipkin {

struct SpanContext {
  uint64_t trace_high = 0;  // 0: the trace has an id of 64 bits
  uint64_t trace = 0;
  uint64_t span = 0;
  std::optional<uint64_t> parent = {};
};

struct Extracted {
  bool broken = false;  // what is there cannot be understood: the request is not traced
  bool single_header = false;  // it came in b3, and goes on in it
  std::optional<bool> sampled = {};  // as somebody before us has decided
  std::optional<SpanContext> context = {};
};
// Envoy's reading: of several fields the first counts, b3 goes before x-b3-*, x-b3-flags is nobody's business.
Extracted extract(const http::HeaderMap& request);

void inject(const SpanContext& context, bool sampled, bool single_header, http::HeaderMap& request);

std::string trace_id_text(const SpanContext& context);  // 16 or 32 digits
std::string id_text(uint64_t id);  // 16 digits

}  // namespace sluice::extensions::zipkin
