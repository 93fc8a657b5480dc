// The tool as an operator runs it, while no sluiced runs.
#include <doctest/doctest.h>
#include <sys/wait.h>

#include <cstdio>

#include "core/json.h"
#include "fixture.h"

using namespace sluice;
using namespace sluice::test;

namespace {

struct Output {
  int status = -1;
  std::string text;
  Json json() const {
    auto parsed = Json::parse(text);
    INFO(text);
    REQUIRE(parsed.ok());
    return *parsed;
  }
  bool has(const std::string& part) const { return text.find(part) != std::string::npos; }
};

Output run(const std::string& words) {
  Output out;
  FILE* pipe = ::popen((std::string(SLUICECTL) + " " + words + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  char buf[4096];
  size_t n;
  while ((n = std::fread(buf, 1, sizeof(buf), pipe)) > 0) out.text.append(buf, n);
  out.status = WEXITSTATUS(::pclose(pipe));
  return out;
}

Output sluicectl(const Host& host, const std::string& words) {
  redirect::Options o = host.options();
  return run(words + " --bpffs-root " + o.bpffs_root + " --state-dir " + o.state_dir + " --cgroup " +
             o.cgroup_path);
}

}  // namespace

TEST_CASE("sluicectl reads, releases and uninstalls without sluiced") {
  if (!can_run()) return;
  Host host;
  Output none = sluicectl(host, "workloads");
  CHECK(none.status == 2);
  CHECK(none.has("nothing is installed under"));
  CHECK(sluicectl(host, "uninstall").has("Nothing was installed."));

  std::string netns = host.make_netns("pod");
  auto r = redirect::Redirector::attach(host.options());
  REQUIRE(r.ok());
  auto spec = spec_for("shop/cart", netns);
  spec.exclude_outbound_ports = {22};
  auto w = (*r)->enrol(spec);
  REQUIRE(w.ok());

  Output listed = sluicectl(host, "workloads");
  CHECK(listed.status == 0);
  CHECK(listed.has("shop/cart"));
  CHECK(listed.has("NO PROXY"));
  CHECK(listed.has("1 ports excluded"));
  Json json = sluicectl(host, "workloads -o json").json();
  REQUIRE(json.items().size() == 1);
  CHECK(json.items()[0]["spec"]["name"].as_string() == "shop/cart");
  CHECK(json.items()[0]["netns_cookie"].as_int() == static_cast<int64_t>(w->netns_cookie));
  CHECK(!json.items()[0]["listening"]["outbound_v4"].as_bool(true));

  Pod pod{.netns = netns, .workload = *w, .out4 = {}, .out6 = {}, .in4 = {}, .in6 = {}, .more = {}};
  CHECK(sluicectl(host, "redirects").has("No redirected connection is open"));
  start_proxy(**r, pod);
  CHECK(sluicectl(host, "workloads").has("v4+v6"));
  Fd app, proxy;
  Host::in(netns, [&] {
    app = socket_for(AF_INET);
    REQUIRE(connect_errno(app.get(), addr("192.0.2.1:80")) == 0);
    proxy = accept_one(pod.out4.get());
  });
  Output redirects = sluicectl(host, "redirects -w shop/cart");
  CHECK(redirects.has("client"));
  CHECK(redirects.has("accepted"));
  CHECK(redirects.has("192.0.2.1:80"));
  json = sluicectl(host, "redirects -o json").json();
  REQUIRE(json.items().size() == 2);
  CHECK(json.items()[0]["original_destination"].as_string() == "192.0.2.1:80");
  CHECK(json.items()[0]["workload"].as_string() == "shop/cart");
  CHECK(sluicectl(host, "redirects -w other -o json").json().items().empty());
  CHECK(sluicectl(host, "counters").has("outbound.redirected.default"));
  CHECK(sluicectl(host, "counters -o json").json()["outbound.redirected.default"].as_int() == 1);

  Output check = sluicectl(host, "check");
  CHECK(check.status == 0);
  CHECK(check.has("Interception works on this host."));
  CHECK(check.has("1 of 1 on connect4"));
  json = sluicectl(host, "check -o json").json();
  CHECK(json["interception_possible"].as_bool());

  CHECK(sluicectl(host, "release nobody").status == 2);
  Output enrol = sluicectl(host, "enrol a " + netns);
  CHECK(enrol.status == 2);
  CHECK(enrol.has("Only a running sluiced can enrol"));
  Output connections = sluicectl(host, "connections");
  CHECK(connections.status == 2);
  CHECK(connections.has("sluicectl redirects"));
  Output released = sluicectl(host, "release shop/cart");
  CHECK(released.status == 0);
  CHECK(released.has("done directly"));
  CHECK(sluicectl(host, "workloads").has("No workload is enrolled"));

  Output held = sluicectl(host, "uninstall");  // this process still holds the maps
  CHECK(held.status == 1);
  CHECK(held.has("LEFT"));
  app.reset();
  proxy.reset();
  pod.close_all();
  *r = nullptr;
  r = redirect::Redirector::attach(host.options());
  REQUIRE(r.ok());
  *r = nullptr;
  Output gone = sluicectl(host, "uninstall");
  CHECK(gone.status == 0);
  CHECK(gone.has("Nothing is left"));
}

TEST_CASE("sluicectl explains itself") {
  Output help = run("--help");
  CHECK(help.status == 0);
  for (const char* command : {"check", "enrol", "release", "workloads", "redirects", "connections",
                              "counters", "watch", "uninstall"}) {
    INFO(std::string(command));
    CHECK(help.has(std::string("  ") + command));
    Output one = run(std::string(command) + " --help");
    CHECK(one.status == 0);
    CHECK(one.has("Example:\n"));
    CHECK(one.has("-o, --output"));
  }
  CHECK(run("").status == 2);
  CHECK(run("frobnicate").has("there is no command \"frobnicate\""));
  CHECK(run("enrol onlyone").has("Usage: sluicectl enrol NAME NETNS"));
  CHECK(run("workloads -o yaml").has("neither table nor json"));
  CHECK(run("enrol a /x --exclude-outbound-ports http").has("\"http\" is not a number"));
  CHECK(run("enrol a /x --exclude-cidrs 10.0.0.0/64").has("exclude_cidrs"));
}
