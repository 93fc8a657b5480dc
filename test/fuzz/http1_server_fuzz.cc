#include "http1_harness.h"

namespace sluice::http::fuzz {
namespace {

std::string run(Setting& setting, std::string_view bytes, uint64_t seed, bool switch_protocols) {
  ServerSide server(setting);
  server.switch_protocols = switch_protocols;
  in_parts(bytes, seed, [&](std::string_view part) { server.give(part); });
  return server.text();
}

// One request in, one request out: what a proxy makes of it is read as the same message by the next server.
void check_forwarding(Setting& setting, std::string_view bytes) {
  ServerSide first(setting);
  first.give(bytes);
  for (const auto& t : first.streams) {
    if (!t->ended || t->bad_status) continue;
    ClientSide client(setting);
    client.stream = &client.connection->new_stream(client.taken);
    forward(client.wire.pool, *client.stream, *t);
    const std::string wire = client.wire.sent;
    ServerSide second(setting);
    second.give(wire);
    FUZZ_CHECK(second.error.empty());
    FUZZ_CHECK(second.streams.size() == 1);
    const Taken& got = *second.streams[0];
    // What only a gateway for HTTP/1.0, or one without absolute URLs, lets in may be refused further on; never more.
    if (got.bad_status) continue;
    FUZZ_CHECK(got.ended);
    FUZZ_CHECK(got.body == t->body);
    FUZZ_CHECK(got.headers->get(Name::method) == t->headers->get(Name::method));
    FUZZ_CHECK(got.headers->get(Name::path) == t->headers->get(Name::path));
    FUZZ_CHECK(got.headers->get(Name::authority) == t->headers->get(Name::authority));
  }
}

}  // namespace
}  // namespace sluice::http::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::http;
  using namespace sluice::http::fuzz;
  if (size < 2) return 0;
  const uint8_t flags = data[0];
  const uint64_t seed = data[1] + 1;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  Setting setting;
  setting.config.common.max_headers_bytes = flags & 1 ? 300 : 60 * 1024;
  setting.config.common.max_headers_count = flags & 1 ? 6 : 100;
  setting.config.common.underscores = flags & 2 ? UnderscoreAction::drop_header : UnderscoreAction::allow;
  setting.config.http1.accept_http_10 = flags & 4;
  setting.config.http1.enable_trailers = flags & 8;
  setting.config.http1.allow_chunked_length = flags & 16;
  setting.config.http1.allow_absolute_url = !(flags & 32);
  setting.config.http1.default_host_for_http_10 = flags & 4 ? "default" : "";
  setting.config.http1.key_format =
      flags & 64 ? Http1Options::KeyFormat::proper_case : Http1Options::KeyFormat::lower;
  const bool switch_protocols = flags & 128;
  const std::string whole = run(setting, bytes, 0, switch_protocols);
  FUZZ_CHECK(run(setting, bytes, seed, switch_protocols) == whole);
  check_forwarding(setting, bytes);
  return 0;
}
