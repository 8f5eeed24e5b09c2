"""Yuan 2011: degrees of freedom of low-rank estimates."""
