#pragma once

#include <string>
#include <vector>

// A real Envoy (tools/setup --test installs it), for tables that it is asked about.
namespace sluice::config::test {

// Its path; "": it is not there, and "SKIPPED: ..." has been printed.
std::string find_envoy();

// A process with everything it writes in `log`; killed and gone with the object.
class Envoy {
 public:
  Envoy(const std::string& envoy, const std::vector<std::string>& arguments, const std::string& log);
  ~Envoy();
  Envoy(const Envoy&) = delete;
  Envoy& operator=(const Envoy&) = delete;
  int wait();  // its exit status, or -1
  bool running();

 private:
  int pid_ = -1;
};

std::string read_file(const std::string& path);

}  // namespace sluice::config::test
