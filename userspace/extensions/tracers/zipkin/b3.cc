#include "extensions/tracers/zipkin/b3.h"

#include <charconv>
#include <string_view>

namespace sluice::extensions::zipkin {

using http::HeaderMap;

namespace {

constexpr std::string_view kB3 = "b3", kTraceId = "x-b3-traceid", kSpanId = "x-b3-spanid",
                           kParentSpanId = "x-b3-parentspanid", kSampled = "x-b3-sampled";
constexpr size_t kDigits = 16;  // of an id

// At most 16 hexadecimal digits.
bool parse_id(std::string_view text, uint64_t& out) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, 16);
  return !text.empty() && error == std::errc() && end == text.data() + text.size();
}

bool parse_trace_id(std::string_view text, SpanContext& out) {
  if (text.size() != 2 * kDigits) return parse_id(text, out.trace);
  return parse_id(text.substr(0, kDigits), out.trace_high) && parse_id(text.substr(kDigits), out.trace);
}

bool is_decision(char c) {
  return c == '0' || c == '1' || c == 'd';  // d: debug, which is sampled
}

// "<trace id>-<span id>[-<decision>[-<parent span id>]]", or the decision alone.
void extract_single(std::string_view text, Extracted& out) {
  out.broken = true;
  if (text.size() == 1) {
    out.broken = !is_decision(text[0]);
    if (!out.broken) out.sampled = text[0] != '0';
    return;
  }
  const size_t trace_digits = text.size() > 2 * kDigits && text[2 * kDigits] == '-' ? 2 * kDigits : kDigits;
  const size_t ids = trace_digits + 1 + kDigits;
  if (text.size() < ids || text[trace_digits] != '-') return;
  SpanContext context;
  if (!parse_trace_id(text.substr(0, trace_digits), context) ||
      !parse_id(text.substr(trace_digits + 1, kDigits), context.span))
    return;
  text.remove_prefix(ids);
  if (!text.empty()) {
    if (text.size() < 2 || text[0] != '-' || !is_decision(text[1])) return;
    out.sampled = text[1] != '0';
    text.remove_prefix(2);
  }
  if (!text.empty()) {
    uint64_t parent = 0;
    if (text.size() != 1 + kDigits || text[0] != '-' || !parse_id(text.substr(1), parent)) return;
    if (parent != 0) context.parent = parent;
  }
  out.context = context;
  out.broken = false;
}

}  // namespace

Extracted extract(const HeaderMap& request) {
  Extracted out;
  if (const std::string_view single = request.get(kB3); single.data() != nullptr) {
    out.single_header = true;
    extract_single(single, out);
    return out;
  }
  if (const std::string_view sampled = request.get(kSampled); sampled.data() != nullptr)
    out.sampled = sampled == "1" || sampled == "true";
  const std::string_view trace = request.get(kTraceId), span = request.get(kSpanId);
  if (trace.data() == nullptr || span.data() == nullptr) return out;
  SpanContext context;
  out.broken = !parse_trace_id(trace, context) || !parse_id(span, context.span);
  if (const std::string_view text = request.get(kParentSpanId); !text.empty()) {
    uint64_t parent = 0;
    out.broken |= !parse_id(text, parent);
    if (parent != 0) context.parent = parent;
  }
  if (!out.broken) out.context = context;
  return out;
}

void inject(const SpanContext& c, bool sampled, bool single_header, HeaderMap& request) {
  if (single_header) {
    std::string text = trace_id_text(c) + '-' + id_text(c.span) + (sampled ? "-1" : "-0");
    if (c.parent) text += '-' + id_text(*c.parent);
    return request.set(kB3, text);
  }
  request.set(kTraceId, trace_id_text(c));
  request.set(kSpanId, id_text(c.span));
  if (c.parent) request.set(kParentSpanId, id_text(*c.parent));
  request.set(kSampled, sampled ? "1" : "0");
}

std::string id_text(uint64_t id) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out(kDigits, '0');
  for (size_t i = kDigits; i-- > 0; id >>= 4) out[i] = kHex[id & 15];
  return out;
}

std::string trace_id_text(const SpanContext& c) {
  return c.trace_high != 0 ? id_text(c.trace_high) + id_text(c.trace) : id_text(c.trace);
}

}  // namespace sluice::extensions::zipkin
