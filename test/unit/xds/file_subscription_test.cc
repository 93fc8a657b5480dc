#include "xds/file_subscription.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "test/unit/xds/mux_rig.h"

namespace sluice::xds {
namespace {

struct Directory {
  Directory() {
    char name[] = "/tmp/sluice-xds-XXXXXX";
    path = mkdtemp(name);
  }
  ~Directory() { [[maybe_unused]] int r = system(("rm -rf " + path).c_str()); }
  std::string file(const std::string& name) const { return path + "/" + name; }
  void write(const std::string& name, const std::string& text) const { std::ofstream(file(name)) << text; }
  void rename(const std::string& from, const std::string& to) const {
    REQUIRE(::rename(file(from).c_str(), file(to).c_str()) == 0);
  }
  std::string path;
};

struct FakeSubscriber final : Subscriber {
  Status on_update(const Update& u) override {
    ++updates;
    version = u.version;
    names.clear();
    versions.clear();
    for (const Resource& r : u.resources) names.emplace_back(r.name), versions.emplace_back(r.version);
    if (!refuse.empty()) return Error{refuse};
    return {};
  }
  void on_failure(FetchFailure f) override { ++failures, failure = f; }
  int updates = 0, failures = 0;
  FetchFailure failure{};
  std::string version, refuse;
  Names names, versions;
};

std::string yaml(const std::string& version, const Names& names) {
  std::string out = "version_info: \"" + version + "\"\nresources:\n";
  for (const auto& name : names)
    out += "- \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\n  name: " + name + "\n";
  return out;
}

struct Rig {
  Rig() : loop(std::move(*io::make_loop({}))), store(1) { watch = *FileWatch::make(*loop); }
  ~Rig() {
    subscription.reset();
    watch.reset();
    while (loop->ops_in_flight() > 0) loop->run_once(std::chrono::milliseconds(10));
  }
  void start(const std::string& path, const std::string& directory = "") {
    subscription = std::make_unique<FileSubscription>(*loop, watch, path, directory, ResourceType::cluster,
                                                      subscriber, store.root(0).scope("cds"));
    subscription->start({});
  }
  template <typename F>
  void until(F done) {
    for (int i = 0; i < 1000 && !done(); ++i) loop->run_once(std::chrono::milliseconds(10));
    CHECK(done());
  }
  uint64_t stat(const std::string& name) {
    for (const auto& m : store.snapshot())
      if (m.name == name) return m.value;
    return ~0ull;
  }
  std::unique_ptr<io::Loop> loop;
  stats::Store store;
  std::shared_ptr<FileWatch> watch;
  FakeSubscriber subscriber;
  std::unique_ptr<FileSubscription> subscription;
};

TEST_CASE("file: read at the start, and when something is renamed onto it") {
  Directory dir;
  dir.write("cds.yaml", yaml("v1", {"a"}));
  Rig rig;
  rig.start(dir.file("cds.yaml"));
  rig.until([&] { return rig.subscriber.updates == 1; });
  CHECK(rig.subscriber.names == Names{"a"});
  CHECK(rig.subscriber.version == "v1");
  dir.write("next", yaml("v2", {"a", "b"}));
  dir.rename("next", "unrelated");  // another name: nothing is read
  dir.write("next", yaml("v2", {"a", "b"}));
  dir.rename("next", "cds.yaml");
  rig.until([&] { return rig.subscriber.version == "v2"; });
  CHECK(rig.subscriber.updates == 2);
  CHECK(rig.stat("cds.update_success") == 2);
  CHECK(rig.stat("cds.update_attempt") == 2);
}

TEST_CASE("file: resources may be wrapped, with a version of their own, but not with a TTL") {
  Directory dir;
  const auto wrapped = [](const std::string& version, const std::string& more) {
    return "version_info: \"" + version +
           "\"\nresources:\n- \"@type\": type.googleapis.com/envoy.service.discovery.v3.Resource\n  name: a\n"
           "  version: own\n" +
           more +
           "  resource:\n    \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\n    name: a\n";
  };
  dir.write("cds.yaml", wrapped("v1", ""));
  Rig rig;
  rig.start(dir.file("cds.yaml"));
  rig.until([&] { return rig.subscriber.updates == 1; });
  CHECK(rig.subscriber.names == Names{"a"});
  CHECK(rig.subscriber.versions == Names{"own"});
  CHECK(rig.subscriber.version == "v1");
  dir.write("next", wrapped("v2", "  ttl: 5s\n"));
  dir.rename("next", "cds.yaml");
  rig.until([&] { return rig.stat("cds.update_rejected") == 1; });
  CHECK(rig.subscriber.updates == 1);
}

TEST_CASE("file: a Kubernetes update swaps a link beside the file") {
  Directory dir;
  for (const char* v : {"..v1", "..v2"}) {
    REQUIRE(mkdir(dir.file(v).c_str(), 0755) == 0);
    dir.write(std::string(v) + "/cds.yaml", yaml(v, {"a"}));
  }
  REQUIRE(symlink("..v1", dir.file("..data").c_str()) == 0);
  REQUIRE(symlink("..data/cds.yaml", dir.file("cds.yaml").c_str()) == 0);
  Rig rig;
  rig.start(dir.file("cds.yaml"), dir.path);
  rig.until([&] { return rig.subscriber.version == "..v1"; });
  REQUIRE(symlink("..v2", dir.file("..data_tmp").c_str()) == 0);
  dir.rename("..data_tmp", "..data");
  rig.until([&] { return rig.subscriber.version == "..v2"; });
}

TEST_CASE(
    "file: what cannot be read, is of another type or is refused is counted, and later ones are taken") {
  Directory dir;
  dir.write("cds.yaml", "resources: [");
  Rig rig;
  rig.start(dir.file("cds.yaml"));
  rig.until([&] { return rig.subscriber.failures == 1; });
  CHECK(rig.subscriber.failure == FetchFailure::rejected);
  CHECK(rig.stat("cds.update_failure") == 1);
  auto replace = [&](const std::string& text) {
    dir.write("next", text);
    dir.rename("next", "cds.yaml");
  };
  replace("resources:\n- \"@type\": type.googleapis.com/envoy.config.listener.v3.Listener\n  name: l\n");
  rig.until([&] { return rig.subscriber.failures == 2; });
  CHECK(rig.stat("cds.update_rejected") == 1);
  CHECK(rig.subscriber.updates == 0);
  rig.subscriber.refuse = "no good";
  replace(yaml("v1", {"a"}));
  rig.until([&] { return rig.subscriber.failures == 3; });
  CHECK(rig.stat("cds.update_rejected") == 2);
  rig.subscriber.refuse.clear();
  replace(yaml("v2", {"a"}));
  rig.until([&] { return rig.stat("cds.update_success") == 1; });
  REQUIRE(unlink(dir.file("cds.yaml").c_str()) == 0);
  replace(yaml("v3", {"a"}));
  rig.until([&] { return rig.subscriber.version == "v3"; });
}

TEST_CASE("file: ended in the middle of everything, nothing is called any more") {
  Directory dir;
  dir.write("cds.yaml", yaml("v1", {"a"}));
  Rig rig;
  rig.start(dir.file("cds.yaml"));
  rig.subscription.reset();
  rig.loop->run_once(std::chrono::milliseconds(1));
  CHECK(rig.subscriber.updates == 0);
  rig.start(dir.file("cds.yaml"));
  rig.until([&] { return rig.subscriber.updates == 1; });
  dir.write("next", yaml("v2", {"a"}));
  dir.rename("next", "cds.yaml");
  rig.subscription.reset();
  rig.loop->run_once(std::chrono::milliseconds(1));
  CHECK(rig.subscriber.updates == 1);
}

}  // namespace
}  // namespace sluice::xds
