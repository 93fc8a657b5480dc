#include "bpf/tests/decisions.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "core/random.h"
#include "decisions.skel.h"
#include "redirect/records.h"
#include "redirect/rules.h"

using namespace sluice;
using redirect::MapId;
using redirect::WorkloadSpec;

namespace {

constexpr uint32_t kMark = 0x539, kTransparentMark = 0x53a;
constexpr uint64_t kProxyCgroup = 77;

void put_addr(uint8_t to[16], const IpAddress& ip) {
  std::memset(to, 0, 16);
  if (ip.is_v4()) {
    to[10] = to[11] = 0xff;
    std::memcpy(to + 12, ip.bytes().data(), 4);
  } else {
    std::memcpy(to, ip.bytes().data(), 16);
  }
}

// The decisions with their maps, loaded once a test.
class Decisions {
 public:
  Decisions() {
    redirect::LibbpfLog log;
    skel_ = decisions_bpf::open_and_load();
    INFO(log.error(errno, "loading").message);
    REQUIRE(skel_ != nullptr);
    for (size_t i = 0; i < redirect::kMapCount; ++i) {
      bpf_map* m = ::bpf_object__find_map_by_name(skel_->obj, redirect::map_name(static_cast<MapId>(i)));
      if (m) maps_.fds[i].reset(::fcntl(::bpf_map__fd(m), F_DUPFD_CLOEXEC, 0));
    }
  }
  ~Decisions() { decisions_bpf::destroy(skel_); }
  Decisions(const Decisions&) = delete;

  const redirect::Maps& maps() const { return maps_; }
  decisions_question outbound(const decisions_question& q) const {
    return run(skel_->progs.test_outbound, q);
  }
  decisions_question inbound(const decisions_question& q) const { return run(skel_->progs.test_inbound, q); }

 private:
  static decisions_question run(bpf_program* program, const decisions_question& q) {
    decisions_question answer{};
    bpf_test_run_opts opts{};
    opts.sz = sizeof(opts);
    opts.data_in = &q;
    opts.data_size_in = sizeof(q);
    opts.data_out = &answer;
    opts.data_size_out = sizeof(answer);
    REQUIRE(::bpf_prog_test_run_opts(::bpf_program__fd(program), &opts) == 0);
    REQUIRE(opts.retval == 2 /* XDP_PASS */);
    return answer;
  }

  decisions_bpf* skel_ = nullptr;
  redirect::Maps maps_;
};

bool can_run() {
  if (::geteuid() == 0) return true;
  const char* insist = std::getenv("SLUICE_TEST_REQUIRE_ROOT");
  REQUIRE_MESSAGE(!(insist && *insist == '1'), "this test needs root, and root is required here");
  MESSAGE("skipped: needs root (CAP_BPF)");
  return false;
}

// An ordinary call: enrolled, TCP, 192.0.2.1:80, by a user's process, the proxy listening.
decisions_question question(uint32_t flags = SLUICE_WF_OUTBOUND | SLUICE_WF_INBOUND) {
  decisions_question q{};
  q.cgroup_id = 5;
  q.netns_cookie = 9;
  q.now_ns = 123;
  q.bridge_max = 100;
  put_addr(q.addr, *IpAddress::parse("192.0.2.1"));
  put_addr(q.called, *IpAddress::parse("10.0.0.5"));
  q.uid = 1000;
  q.port = 80;
  q.peer_port = 40000;
  q.is_tcp = 1;
  q.family = AF_INET;
  q.enrolled = 1;
  q.listening = 1;
  q.workload.workload_id = 3;
  q.workload.generation = 4;
  q.workload.flags = flags;
  q.workload.outbound_port = 15001;
  q.workload.inbound_port = 15006;
  q.workload.spread = 8;
  q.config.abi_version = SLUICE_ABI_VERSION;
  q.config.proxy_cgroup_id = kProxyCgroup;
  q.config.proxy_mark = kMark;
  q.config.transparent_mark = kTransparentMark;
  return q;
}

struct Row {
  const char* what;
  std::function<void(decisions_question&)> change;
  uint32_t decision;
};

void expect(const std::vector<Row>& rows,
            const std::function<decisions_question(const decisions_question&)>& ask,
            const decisions_question& base) {
  for (const Row& row : rows) {
    decisions_question q = base;
    row.change(q);
    uint32_t got = ask(q).decision;
    CHECK_MESSAGE(got == row.decision, std::string(row.what), ": ", std::string(redirect::decision_name(got)),
                  ", wanted ", std::string(redirect::decision_name(row.decision)));
  }
}

auto to(const char* ip) {
  return [ip](decisions_question& q) { put_addr(q.addr, *IpAddress::parse(ip)); };
}

}  // namespace

TEST_CASE("outbound: every decision that needs no rules") {
  if (!can_run()) return;
  Decisions d;
  auto ask = [&](const decisions_question& q) { return d.outbound(q); };
  using Q = decisions_question;
  expect({{"ordinary", [](Q&) {}, SLUICE_D_OUT_REDIRECTED},
          {"not enrolled", [](Q& q) { q.enrolled = 0; }, SLUICE_D_OUT_NOT_ENROLLED},
          {"UDP", [](Q& q) { q.is_tcp = 0; }, SLUICE_D_OUT_NOT_TCP},
          {"outbound off", [](Q& q) { q.workload.flags = SLUICE_WF_INBOUND; }, SLUICE_D_OUT_OFF},
          {"proxy", [](Q& q) { q.mark = kMark, q.cgroup_id = kProxyCgroup; }, SLUICE_D_OUT_PROXY},
          {"proxy, transparent", [](Q& q) { q.mark = kTransparentMark, q.cgroup_id = kProxyCgroup; },
           SLUICE_D_OUT_PROXY},
          {"mark alone", [](Q& q) { q.mark = kMark; }, SLUICE_D_OUT_REDIRECTED},
          {"cgroup alone", [](Q& q) { q.cgroup_id = kProxyCgroup; }, SLUICE_D_OUT_REDIRECTED},
          {"another mark", [](Q& q) { q.mark = 1, q.cgroup_id = kProxyCgroup; }, SLUICE_D_OUT_REDIRECTED},
          {"no proxy is known: mark 0 is nobody's", [](Q& q) { q.config = {}, q.mark = 0, q.cgroup_id = 0; },
           SLUICE_D_OUT_REDIRECTED},
          {"no transparent mark: mark 0 is not it",
           [](Q& q) { q.config.transparent_mark = 0, q.mark = 0, q.cgroup_id = kProxyCgroup; },
           SLUICE_D_OUT_REDIRECTED},
          {"127.0.0.1", to("127.0.0.1"), SLUICE_D_OUT_LOOPBACK},
          {"127.255.255.255", to("127.255.255.255"), SLUICE_D_OUT_LOOPBACK},
          {"126.255.255.255", to("126.255.255.255"), SLUICE_D_OUT_REDIRECTED},
          {"128.0.0.0", to("128.0.0.0"), SLUICE_D_OUT_REDIRECTED},
          {"0.0.0.0", to("0.0.0.0"), SLUICE_D_OUT_LOOPBACK},
          {"0.0.0.1", to("0.0.0.1"), SLUICE_D_OUT_REDIRECTED},
          {"::1", to("::1"), SLUICE_D_OUT_LOOPBACK},
          {"::", to("::"), SLUICE_D_OUT_LOOPBACK},
          {"::2", to("::2"), SLUICE_D_OUT_REDIRECTED},
          {"::ffff:127.0.0.1", to("::ffff:127.0.0.1"), SLUICE_D_OUT_LOOPBACK},
          {"2001:db8::1", to("2001:db8::1"), SLUICE_D_OUT_REDIRECTED},
          {"no proxy, closed", [](Q& q) { q.listening = 0; }, SLUICE_D_OUT_REFUSED_NO_PROXY},
          {"no proxy, open", [](Q& q) { q.listening = 0, q.workload.fail_mode = SLUICE_FAIL_OPEN; },
           SLUICE_D_OUT_OPEN_NO_PROXY},
          {"no proxy, but not for the proxy to have",
           [](Q& q) { q.listening = 0, put_addr(q.addr, *IpAddress::parse("127.0.0.1")); },
           SLUICE_D_OUT_LOOPBACK},
          {"bridge one short of full", [](Q& q) { q.bridge_entries = 99; }, SLUICE_D_OUT_REDIRECTED},
          {"bridge full, closed", [](Q& q) { q.bridge_entries = 100; }, SLUICE_D_OUT_REFUSED_BRIDGE_FULL},
          {"bridge full, open", [](Q& q) { q.bridge_entries = 100, q.workload.fail_mode = SLUICE_FAIL_OPEN; },
           SLUICE_D_OUT_OPEN_BRIDGE_FULL}},
         ask, question());
}

TEST_CASE("outbound: the redirect that is written") {
  if (!can_run()) return;
  Decisions d;
  decisions_question q = question();
  uint8_t want[16];
  for (uint32_t random : {0u, 1u, 7u, 8u, 0xffffffffu}) {
    q.random = random;
    auto a = d.outbound(q);
    std::string target = "127.0.0." + std::to_string(1 + random % 8);
    put_addr(want, *IpAddress::parse(target));
    CHECK_MESSAGE(std::memcmp(a.redirect.target_addr, want, 16) == 0, target);
    CHECK(a.redirect.target_port_be == htons(15001));
    CHECK(std::memcmp(a.redirect.original_addr, q.addr, 16) == 0);
    CHECK(a.redirect.original_port_be == htons(80));
    CHECK(a.redirect.netns_cookie == 9);
    CHECK(a.redirect.created_ns == 123);
    CHECK(a.redirect.workload_id == 3);
    CHECK(a.redirect.generation == 4);
    CHECK(a.redirect.uid == 1000);
    CHECK(a.redirect.role == SLUICE_ROLE_CLIENT);
    CHECK(a.redirect.rule == SLUICE_D_OUT_REDIRECTED);
    CHECK(a.role == SLUICE_LISTENER_OUT_V4);
  }
  q.workload.spread = 0;  // never divides by it
  put_addr(want, *IpAddress::parse("127.0.0.1"));
  CHECK(std::memcmp(d.outbound(q).redirect.target_addr, want, 16) == 0);
  to("2001:db8::1")(q);
  put_addr(want, *IpAddress::parse("::1"));
  CHECK(std::memcmp(d.outbound(q).redirect.target_addr, want, 16) == 0);
  CHECK(d.outbound(q).role == SLUICE_LISTENER_OUT_V6);
}

TEST_CASE("inbound: every decision that needs no rules") {
  if (!can_run()) return;
  Decisions d;
  auto ask = [&](const decisions_question& q) { return d.inbound(q); };
  using Q = decisions_question;
  expect({{"ordinary", [](Q&) {}, SLUICE_D_IN_TAKEN},
          {"UDP", [](Q& q) { q.is_tcp = 0; }, SLUICE_D_IN_NOT_TCP},
          {"released meanwhile", [](Q& q) { q.enrolled = 0; }, SLUICE_D_IN_OFF},
          {"on lo", [](Q& q) { q.from_loopback = 1; }, SLUICE_D_IN_LOOPBACK},
          {"from 127.0.0.6", to("127.0.0.6"), SLUICE_D_IN_LOOPBACK},
          {"from ::1", to("::1"), SLUICE_D_IN_LOOPBACK},
          {"from the address called", to("10.0.0.5"), SLUICE_D_IN_LOOPBACK},
          {"inbound off", [](Q& q) { q.workload.flags = SLUICE_WF_OUTBOUND; }, SLUICE_D_IN_OFF},
          {"virtualOutbound by number", [](Q& q) { q.port = 15001; }, SLUICE_D_IN_PROXY_PORT},
          {"virtualInbound by number", [](Q& q) { q.port = 15006; }, SLUICE_D_IN_PROXY_PORT},
          {"no proxy, closed", [](Q& q) { q.listening = 0; }, SLUICE_D_IN_REFUSED_NO_PROXY},
          {"no proxy, open", [](Q& q) { q.listening = 0, q.workload.fail_mode = SLUICE_FAIL_OPEN; },
           SLUICE_D_IN_OPEN_NO_PROXY}},
         ask, question());

  // The proxy's own handshake, by its tuple; any other tuple is the caller's.
  sluice_tuple t{};
  t.netns_cookie = 9;
  put_addr(t.client_addr, *IpAddress::parse("192.0.2.1"));
  put_addr(t.server_addr, *IpAddress::parse("10.0.0.5"));
  t.client_port_be = htons(40000);
  t.server_port_be = htons(80);
  sluice_redirect r{};
  r.role = SLUICE_ROLE_PROXY;
  REQUIRE(::bpf_map_update_elem(d.maps()[MapId::bridge], &t, &r, BPF_ANY) == 0);
  expect({{"the proxy", [](Q&) {}, SLUICE_D_IN_PROXY},
          {"another port of the caller's", [](Q& q) { q.peer_port = 40001; }, SLUICE_D_IN_TAKEN},
          {"another netns", [](Q& q) { q.netns_cookie = 10; }, SLUICE_D_IN_TAKEN}},
         ask, question());
  r.role = SLUICE_ROLE_CLIENT;
  REQUIRE(::bpf_map_update_elem(d.maps()[MapId::bridge], &t, &r, BPF_ANY) == 0);
  CHECK(d.inbound(question()).decision == SLUICE_D_IN_TAKEN);
}

namespace {

// The same rules in plain words, from the specification and not from the BPF code.
uint32_t outbound_by_the_book(const WorkloadSpec& s, const IpAddress& ip, uint16_t port, uint32_t uid) {
  auto has = [](const auto& list, const auto& x) {
    return std::find(list.begin(), list.end(), x) != list.end();
  };
  auto longest = [&](const std::vector<Cidr>& list) {
    int best = -1;
    for (const Cidr& c : list)
      if (c.contains(ip)) best = std::max(best, static_cast<int>(c.prefix_len()));
    return best;
  };
  if (has(s.exclude_uids, uid)) return SLUICE_D_OUT_EXCLUDED_UID;
  if (has(s.exclude_outbound_ports, port)) return SLUICE_D_OUT_EXCLUDED_PORT;
  int excluded = longest(s.exclude_cidrs), included = longest(s.include_cidrs);
  if (excluded >= 0 && excluded >= included) return SLUICE_D_OUT_EXCLUDED_CIDR;
  if (has(s.include_outbound_ports, port)) return SLUICE_D_OUT_INCLUDED_PORT;
  if (included >= 0) return SLUICE_D_OUT_INCLUDED_CIDR;
  return s.include_outbound_ports.empty() && s.include_cidrs.empty() ? SLUICE_D_OUT_REDIRECTED
                                                                     : SLUICE_D_OUT_NOT_INCLUDED;
}

uint32_t inbound_by_the_book(const WorkloadSpec& s, const IpAddress& source, uint16_t port) {
  auto has = [](const auto& list, const auto& x) {
    return std::find(list.begin(), list.end(), x) != list.end();
  };
  for (const Cidr& c : s.probe_sources)
    if (c.contains(source)) return SLUICE_D_IN_PROBE;
  if (has(s.exclude_inbound_ports, port)) return SLUICE_D_IN_EXCLUDED_PORT;
  if (has(s.include_inbound_ports, port)) return SLUICE_D_IN_INCLUDED_PORT;
  return s.include_inbound_ports.empty() ? SLUICE_D_IN_TAKEN : SLUICE_D_IN_NOT_INCLUDED;
}

}  // namespace

TEST_CASE("rules: 300 drawn rule sets decide 60 calls each as the specification says") {
  if (!can_run()) return;
  Decisions d;
  uint64_t seed = 20260111;
  if (const char* given = std::getenv("SLUICE_TEST_SEED")) seed = std::strtoull(given, nullptr, 10);
  CAPTURE(seed);
  Random random(seed);
  // A small world, so that rules and calls meet.
  auto draw_ip = [&](bool v6) {
    if (!v6)
      return IpAddress::v4(htonl(0x0a000000u | static_cast<uint32_t>(random.below(64)) << 2 |
                                 static_cast<uint32_t>(random.below(4)) << 16));
    std::array<uint8_t, 16> a{0x20, 0x01, 0x0d, 0xb8};
    a[7] = static_cast<uint8_t>(random.below(4));
    a[15] = static_cast<uint8_t>(random.below(64));
    return IpAddress::v6(a);
  };
  auto draw_ports = [&] {
    std::vector<uint16_t> out(random.below(4));
    for (auto& p : out) p = static_cast<uint16_t>(80 + random.below(6));
    return out;
  };
  auto draw_cidrs = [&] {
    std::vector<Cidr> out(random.below(5));
    for (auto& c : out) {
      bool v6 = random.chance(1, 2);
      unsigned max = v6 ? 128 : 32;
      c = *Cidr::make(draw_ip(v6),
                      static_cast<unsigned>(max - random.below(random.chance(1, 4) ? max + 1 : 20)));
    }
    return out;
  };
  int wrong = 0;
  for (uint32_t set = 0; set < 300; ++set) {
    uint32_t generation = set + 10;
    WorkloadSpec s;
    if (random.chance(1, 2)) s.exclude_outbound_ports = draw_ports();
    if (random.chance(1, 3)) s.include_outbound_ports = draw_ports();
    if (random.chance(2, 3)) s.exclude_cidrs = draw_cidrs();
    if (random.chance(1, 2)) s.include_cidrs = draw_cidrs();
    if (random.chance(1, 3)) s.exclude_uids = {static_cast<uint32_t>(random.below(4))};
    if (random.chance(1, 2)) s.exclude_inbound_ports = draw_ports();
    if (random.chance(1, 3)) s.include_inbound_ports = draw_ports();
    if (random.chance(1, 2)) s.probe_sources = draw_cidrs();
    REQUIRE(redirect::write_rules(d.maps(), generation, s).ok());
    for (int call = 0; call < 60; ++call) {
      IpAddress ip = draw_ip(random.chance(1, 2));
      decisions_question q = question(redirect::rule_flags(s));
      q.workload.generation = generation;
      put_addr(q.addr, ip);
      q.port = static_cast<uint16_t>(80 + random.below(6));
      q.uid = static_cast<uint32_t>(random.below(4));
      uint32_t out = d.outbound(q).decision, want_out = outbound_by_the_book(s, ip, q.port, q.uid);
      put_addr(q.called, *IpAddress::parse("203.0.113.1"));
      uint32_t in = d.inbound(q).decision, want_in = inbound_by_the_book(s, ip, q.port);
      if (out == want_out && in == want_in) continue;
      ++wrong;
      CHECK_MESSAGE(out == want_out, "set ", set, " to ", ip.to_string(), ":", q.port, ": ",
                    std::string(redirect::decision_name(out)), ", wanted ",
                    std::string(redirect::decision_name(want_out)));
      CHECK_MESSAGE(in == want_in, "set ", set, " from ", ip.to_string(), " port ", q.port, ": ",
                    std::string(redirect::decision_name(in)), ", wanted ",
                    std::string(redirect::decision_name(want_in)));
    }
    // Some generations stay, so that the others' rules are there to be confused with.
    if (random.chance(1, 2)) redirect::erase_rules(d.maps(), generation);
  }
  CHECK(wrong == 0);
}

TEST_CASE("rules: a short IPv6 prefix does not speak of IPv4, a v4-mapped one does") {
  if (!can_run()) return;
  Decisions d;
  auto decide = [&](const char* rule, const char* ip) {
    static uint32_t generation = 1000;
    WorkloadSpec s;
    s.exclude_cidrs = {*Cidr::parse(rule)};
    REQUIRE(redirect::write_rules(d.maps(), ++generation, s).ok());
    decisions_question q = question(redirect::rule_flags(s));
    q.workload.generation = generation;
    to(ip)(q);
    return d.outbound(q).decision;
  };
  CHECK(decide("::/0", "10.1.2.3") == SLUICE_D_OUT_REDIRECTED);
  CHECK(decide("::/0", "2001:db8::1") == SLUICE_D_OUT_EXCLUDED_CIDR);
  CHECK(decide("0.0.0.0/0", "10.1.2.3") == SLUICE_D_OUT_EXCLUDED_CIDR);
  CHECK(decide("0.0.0.0/0", "2001:db8::1") == SLUICE_D_OUT_REDIRECTED);
  CHECK(decide("::ffff:10.0.0.0/104", "10.1.2.3") == SLUICE_D_OUT_EXCLUDED_CIDR);
  CHECK(decide("::ffff:10.0.0.0/104", "11.1.2.3") == SLUICE_D_OUT_REDIRECTED);
}

TEST_CASE("rules: erasing a generation takes all of it and nothing else") {
  if (!can_run()) return;
  Decisions d;
  WorkloadSpec s;
  s.exclude_outbound_ports = {80};
  s.exclude_cidrs = {*Cidr::parse("10.0.0.0/8"), *Cidr::parse("::/0")};
  s.exclude_uids = {1};
  s.probe_sources = {*Cidr::parse("10.0.0.1/32")};
  REQUIRE(redirect::write_rules(d.maps(), 1, s).ok());
  REQUIRE(redirect::write_rules(d.maps(), 2, s).ok());
  redirect::erase_rules(d.maps(), 1);
  auto decide = [&](uint32_t generation) {
    decisions_question q = question(redirect::rule_flags(s));
    q.workload.generation = generation;
    to("10.1.2.3")(q);
    q.port = 81;
    return d.outbound(q).decision;
  };
  CHECK(decide(1) == SLUICE_D_OUT_REDIRECTED);
  CHECK(decide(2) == SLUICE_D_OUT_EXCLUDED_CIDR);
  redirect::erase_rules(d.maps(), 2);
  for (MapId id : {MapId::ports, MapId::cidrs, MapId::uids}) {
    char key[64];
    CHECK(::bpf_map_get_next_key(d.maps()[id], nullptr, key) != 0);
  }
}
