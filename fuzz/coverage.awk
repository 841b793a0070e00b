# Reads the output of `llvm-cov report`, then that of `llvm-cov export --format=lcov`, and prints a table: each file
# with its regions and lines, how many of them were run, and which lines were not.

# A row of the report: file, regions, missed, per cent, functions, missed, per cent, lines, missed, per cent.
!lcov && NF >= 10 && $2 ~ /^[0-9]+$/ {
    regions[$1] = $2
    regions_run[$1] = $2 - $3
}

# The report leaves out what the names of the files have in common, and so all of the name where there is one.
/^SF:/ {
    lcov = 1
    file = substr($0, 4)
    sub("^" root, "", file)
    order[++files] = file
    first = last = 0
}

/^DA:/ {
    split(substr($0, 4), of, ",")
    lines[file]++
    if (of[2] > 0) {
        lines_run[file]++
        close_range()
    } else {
        if (!first) first = of[1]
        last = of[1]
    }
}

/^end_of_record/ { close_range() }

function close_range() {
    if (first) missed[file] = missed[file] " " (first == last ? first : first "-" last)
    first = last = 0
}

function of_report(file,    name, found) {
    for (name in regions)
        if (substr(file, length(file) - length(name) + 1) == name && length(name) > length(found)) found = name
    return files == 1 ? "TOTAL" : found
}

END {
    printf "  %-38s %15s %15s  %s\n", "file", "regions run", "lines run", "lines that were not"
    for (i = 1; i <= files; i++) {
        file = order[i]
        name = of_report(file)
        printf "  %-38s %15s %15s %s\n", file, (regions_run[name] + 0) " of " (regions[name] + 0), \
            (lines_run[file] + 0) " of " lines[file], missed[file]
        all_regions += regions[name]; all_regions_run += regions_run[name]
        all_lines += lines[file]; all_lines_run += lines_run[file]
    }
    printf "  %-38s %15s %15s\n\n", "all", all_regions_run " of " all_regions, all_lines_run " of " all_lines
}
