#include "core/spiffe.h"

#include <doctest/doctest.h>

#include <string>

namespace sluice {

TEST_CASE("SPIFFE IDs: what the standard lets be one") {
  for (const char* id :
       {"spiffe://cluster.local/ns/a/sa/b", "spiffe://td/x", "spiffe://a-b_c.1/A.b-C_9/..."}) {
    INFO(id);
    CHECK(check_spiffe_id(id).ok());
  }
  CHECK(trust_domain_of("spiffe://cluster.local/ns/a") == "cluster.local");
  const std::string long_domain(256, 'a'), long_path(2048, 'a');
  for (const std::string& id : {std::string(),
                                std::string("spiffe://"),
                                std::string("SPIFFE://td/x"),
                                std::string("https://td/x"),
                                std::string("spiffe://td"),
                                std::string("spiffe://td/"),
                                std::string("spiffe:///x"),
                                std::string("spiffe://TD/x"),
                                std::string("spiffe://td:80/x"),
                                std::string("spiffe://u@td/x"),
                                std::string("spiffe://td//x"),
                                std::string("spiffe://td/x/"),
                                std::string("spiffe://td/./x"),
                                std::string("spiffe://td/../x"),
                                std::string("spiffe://td/x?y"),
                                std::string("spiffe://td/x#y"),
                                std::string("spiffe://td/%41"),
                                std::string("spiffe://td/x,y"),
                                std::string("spiffe://td/x\0y", 15),
                                "spiffe://" + long_domain + "/x",
                                "spiffe://td/" + long_path}) {
    INFO(id);
    CHECK(!check_spiffe_id(id).ok());
  }
}

}  // namespace sluice
