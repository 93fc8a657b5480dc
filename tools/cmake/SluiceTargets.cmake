# sluice_add_folders(dir...): adds each folder that exists, in order.
function(sluice_add_folders)
  foreach(d IN LISTS ARGN)
    if(EXISTS ${CMAKE_SOURCE_DIR}/${d}/CMakeLists.txt)
      add_subdirectory(${CMAKE_SOURCE_DIR}/${d} ${CMAKE_BINARY_DIR}/${d})
    endif()
  endforeach()
endfunction()

# sluice_library(NAME SRCS a.cc... [DEPS sluice targets, PUBLIC] [LIBS third-party, PRIVATE])
function(sluice_library name)
  cmake_parse_arguments(A "" "" "SRCS;DEPS;LIBS" ${ARGN})
  add_library(${name} STATIC ${A_SRCS})
  target_link_libraries(${name} PUBLIC sluice_flags ${A_DEPS} PRIVATE ${A_LIBS})
endfunction()

# sluice_binary(NAME SRCS... DEPS... LIBS...): a program in build/bin.
function(sluice_binary name)
  cmake_parse_arguments(A "" "" "SRCS;DEPS;LIBS" ${ARGN})
  add_executable(${name} ${A_SRCS})
  target_link_libraries(${name} PRIVATE sluice_flags ${A_DEPS} ${A_LIBS})
endfunction()

# sluice_unit_test(NAME SRCS... DEPS... LIBS... [LABELS l...]): a doctest program, one ctest entry.
function(sluice_unit_test name)
  cmake_parse_arguments(A "" "" "SRCS;DEPS;LIBS;LABELS" ${ARGN})
  add_executable(${name} ${A_SRCS} ${CMAKE_SOURCE_DIR}/test/unit/main.cc)
  target_link_libraries(${name} PRIVATE sluice_flags ${A_DEPS} ${A_LIBS})
  add_test(NAME ${name} COMMAND ${name})
  if(NOT A_LABELS)
    set(A_LABELS unit)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" TIMEOUT 900)
endfunction()
