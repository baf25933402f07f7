"""Where do two tables differ, and of what kind is each difference?"""
