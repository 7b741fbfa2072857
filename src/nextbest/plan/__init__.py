"""The stages of a decision as SQL, one named table each. Pure: builds trees and text, runs nothing."""
