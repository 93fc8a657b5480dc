#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "core/random.h"
#include "test/fuzz/http1_harness.h"
#include "test/support/test_ca.h"
#include "test/unit/tls/clock_loop.h"
#include "tls/context.h"

// Bytes of a client at a server, in pieces; what must hold: see README.md.
namespace sluice::tls {
namespace {

using test::ClockLoop;
using State = ext::TransportSocket::Status;

template <typename T>
std::shared_ptr<const T> shared(T value) {
  return std::make_shared<const T>(std::move(value));
}

struct Server {
  ClockLoop loop;
  stats::Store store{1};
  Stats counters{store.root(0).scope("fuzz")};
  std::shared_ptr<ServerContext>
      contexts[2];  // for anybody; for clients with a certificate, with two certificates

  Server() {
    const sluice::test::TestCa ca("CA", loop.wall);
    ServerSecrets secrets;
    auto add = [&](sluice::test::KeyKind key) {
      const auto pair = ca.issue({.common_name = "s", .sans = {"DNS:server.example"}, .key = key});
      Certificate c;
      c.chain = pair.chain;
      c.private_key = pair.key;
      secrets.certificates.push_back(shared(c));
    };
    ServerSettings settings;
    settings.alpn = {"h2", "http/1.1"};
    settings.min_version = Version::tls10;
    add(sluice::test::KeyKind::p256);
    contexts[0] = *ServerContext::make(settings, secrets);
    add(sluice::test::KeyKind::rsa2048);
    Validation v;
    v.trusted_ca = ca.pem();
    secrets.validation = shared(v);
    settings.require_client_certificate = true;
    contexts[1] = *ServerContext::make(settings, secrets);
  }
};

}  // namespace
}  // namespace sluice::tls

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  using namespace sluice::tls;
  static Server& server = *new Server;
  if (size < 2) return 0;
  const uint8_t flags = data[0];
  Random random(data[1] + 1);
  std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  {
    auto socket = server.contexts[flags & 2 ? 1 : 0]->accept({.loop = server.loop, .stats = server.counters});
    Buffer in, plain, out;
    socket->start(out);
    State state = State::ok;
    while (state == State::ok) {
      const size_t n = flags & 1 ? std::min<size_t>(bytes.size(), random.below(40)) : bytes.size();
      in.append(server.loop.blocks(), bytes.substr(0, n));
      bytes.remove_prefix(n);
      state = socket->receive(in, bytes.empty() && !(flags & 4), plain, out);
      // Nothing that is not a record's beginning waits for more.
      FUZZ_CHECK(state != State::ok || in.size() < 5 + 16384 + 2048);
      if (bytes.empty() && (flags & 4)) break;
    }
    FUZZ_CHECK(plain.empty());  // nobody guesses a key
    FUZZ_CHECK(!socket->established());
    FUZZ_CHECK(out.size() < 16384 + 2 * size);
    if (state == State::failed) FUZZ_CHECK(socket->receive(in, true, plain, out) == State::failed);
  }
  FUZZ_CHECK(server.loop.blocks().outstanding() == 0);
  return 0;
}
