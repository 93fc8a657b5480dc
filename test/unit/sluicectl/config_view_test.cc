#include "config_view.h"

#include <doctest/doctest.h>

using namespace sluice;
using namespace sluice::ctl;

namespace {

std::vector<ConfigResource> resources(const std::string& configs) {
  auto json = Json::parse("{\"configs\": [" + configs + "]}");
  REQUIRE(json.ok());
  auto out = config_resources(*json);
  REQUIRE(out.ok());
  return *out;
}

std::string dynamic_cluster(const std::string& cluster) {
  return R"({"version_info": "v1", "dynamic_active_clusters": [{"version_info": "v1", "last_updated": "t", "cluster": )" +
         cluster + "}]}";
}

}  // namespace

TEST_CASE("Resources of a dump, with their states and why they were refused") {
  const auto all = resources(
      R"({"static_clusters": [{"cluster": {"name": "s"}}], "dynamic_warming_clusters": [{"version_info": "2", "cluster": {"name": "w"}}]},
         {"dynamic_listeners": [{"name": "l", "active_state": {"version_info": "1", "listener": {"name": "l"}},
            "warming_state": {"version_info": "2", "listener": {"name": "l"}},
            "error_state": {"version_info": "3", "details": "no chains", "failed_configuration": {"name": "l"}}}]},
         {"dynamic_route_configs": [{"version_info": "7", "route_config": {"name": "r"}}]},
         {"ecds_filters": [{"version_info": "8", "ecds_filter": {"name": "f"}},
            {"error_state": {"version_info": "9", "details": "no rules", "failed_configuration": {"name": "g"}}}]},
         {"dynamic_endpoint_configs": [{"endpoint_config": {"cluster_name": "e"}}]})");
  std::string text;
  for (const auto& r : all)
    text += r.kind + " " + r.name + " " + r.state + " " + r.version + " " + r.reason + "\n";
  CHECK(text ==
        "cluster s static  \n"
        "cluster w warming 2 \n"
        "listener l active 1 \n"
        "listener l warming 2 \n"
        "listener l refused 3 no chains\n"
        "route r active 7 \n"
        "filter f active 8 \n"
        "filter g refused 9 no rules\n"
        "endpoints e active  \n");
}

TEST_CASE("What is no dump is refused") {
  auto json = Json::parse("{\"clusters\": []}");
  REQUIRE(json.ok());
  CHECK_FALSE(config_resources(*json).ok());
}

TEST_CASE("The difference names each field, lists by name where elements have one") {
  const auto before = resources(dynamic_cluster(
      R"({"name": "c", "connect_timeout": "1s", "filters": [{"name": "a", "x": 1}, {"name": "b"}], "ports": [1, 2]})"));
  const auto after = resources(dynamic_cluster(
      R"({"name": "c", "connect_timeout": "2s", "filters": [{"name": "b"}, {"name": "a", "x": 2}], "ports": [1], "type": "EDS"})"));
  const auto changes = config_diff(before, after);
  REQUIRE(changes.size() == 1);
  CHECK(changes[0].what == "changed");
  std::string text;
  for (const auto& f : changes[0].fields) text += f.path + " " + f.before + ">" + f.after + "\n";
  CHECK(text ==
        "connect_timeout \"1s\">\"2s\"\n"
        "filters[a].x 1>2\n"
        "ports[1] 2>\n"
        "type >\"EDS\"\n");
}

TEST_CASE("Added and removed; equal ones are not mentioned") {
  const auto a = resources(dynamic_cluster(R"({"name": "a"})")),
             b = resources(dynamic_cluster(R"({"name": "b"})"));
  const auto changes = config_diff(a, b);
  REQUIRE(changes.size() == 2);
  CHECK(changes[0].name + changes[0].what == "aremoved");
  CHECK(changes[1].name + changes[1].what == "badded");
  CHECK(config_diff(a, a).empty());
}

TEST_CASE("Of several that share a name, the one that changes does") {
  auto routes = [](const std::string& first) {
    return resources(R"({"static_route_configs": [{"route_config": {"name": "r", "x": )" + first +
                     R"(}}, {"route_config": {"name": "r", "x": 3}}]})");
  };
  const auto changes = config_diff(routes("1"), routes("2"));
  REQUIRE(changes.size() == 1);
  REQUIRE(changes[0].fields.size() == 1);
  CHECK(changes[0].fields[0].before + changes[0].fields[0].after == "12");
}
