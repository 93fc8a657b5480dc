#pragma once

#include <string>

namespace sluice::xds {

// How it stands with a control plane.
struct PlaneView {
  std::string cluster;
  bool connected = false;
  std::string why;  // it is not; "": nothing has failed yet
};

}  // namespace sluice::xds
